"""Finding wrong labels at noise rates from 5 to 40 %: the curve, its area, and the rivals."""

import pandas as pd

from baselines.studies.cases import DESK, Case, over
from baselines.studies.chosen import compared, of_family
from baselines.studies.detection import detection
from baselines.truth import leave_one_out
from baselines.validation import GROUND_TRUTH
from samattr_ref.registry import Family
from samattr_ref.training import train
from samattr_ref.workload import Workload

RATES = (0.05, 0.1, 0.2, 0.3, 0.4)


def measure(workload: Workload, rate: float) -> pd.DataFrame:
    """Wrong labels found by every method and at random; where every point can be left out, by exact LOO as well.

    There the self-influence of two methods is a way too: it takes a score for every pair of training points.
    """
    run = train(workload.override(noise=rate))
    methods = [*compared(), *of_family(Family.CONTROL, Family.CHANCE)]
    if workload.n_removed is None:
        frame = detection(run, methods, ["if", "tracin-cp"], workload, leave_one_out(run))
    else:
        frame = detection(run, [name for name in methods if name != GROUND_TRUTH], [], workload)
    return frame.assign(rate=rate)


CASES = {"desk": over(DESK, "rate", RATES), "real": [Case("mnist-mlp-full", {}, {"rate": 0.1})]}
