"""Finding wrong labels at noise rates from 5 to 40 %: the curve, its area, and the rivals."""

import pandas as pd

from baselines.studies.cases import DESK, over
from baselines.studies.chosen import compared, of_family
from baselines.studies.detection import detection
from baselines.truth import leave_one_out
from samattr_ref.registry import Family
from samattr_ref.training import train
from samattr_ref.workload import Workload

RATES = (0.05, 0.1, 0.2, 0.3, 0.4)


def measure(workload: Workload, rate: float) -> pd.DataFrame:
    """Wrong labels found by every method, by exact LOO, by self-influence and at random."""
    truth = leave_one_out(train(workload.override(noise=rate)))
    methods = [*compared(), *of_family(Family.CHANCE)]
    return detection(truth.run, methods, ["if", "tracin-cp"], workload, truth).assign(rate=rate)


CASES = {"desk": over(DESK, "rate", RATES)}
