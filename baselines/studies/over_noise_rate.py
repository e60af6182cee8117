"""Finding wrong labels at noise rates from 5 to 40 %: the curve, its area, and the rivals."""

from collections.abc import Sequence

import pandas as pd

from baselines.studies.cases import DESK, THREE, Case, over
from baselines.studies.chosen import compared, of_family
from baselines.studies.detection import detection
from baselines.studies.loo_and_lds import RIVALS
from baselines.truth import leave_one_out
from baselines.validation import GROUND_TRUTH
from samattr_ref.registry import Family
from samattr_ref.training import train
from samattr_ref.workload import Workload

RATES = (0.05, 0.1, 0.2, 0.3, 0.4)


def measure(workload: Workload, rate: float, methods: Sequence[str] | None = None) -> pd.DataFrame:
    """Wrong labels found by some methods, or by every one and at random.

    Where every point can be left out, exact LOO and the self-influence of two methods are ways too: the latter takes a
    score for every pair of training points.
    """
    run = train(workload.override(noise=rate))
    if methods is not None:
        return detection(run, methods, [], workload).assign(rate=rate)
    every = [*compared(), *of_family(Family.CONTROL, Family.CHANCE)]
    if workload.n_removed is None:
        frame = detection(run, every, ["if", "tracin-cp"], workload, leave_one_out(run))
    else:
        frame = detection(run, [name for name in every if name != GROUND_TRUTH], [], workload)
    return frame.assign(rate=rate)


CASES = {
    "desk": over(DESK, "rate", RATES),
    "real": [
        Case("mnist-mlp-full", {}, {"rate": 0.1}, THREE),
        Case("mnist-mlp-full", {}, {"rate": 0.1, "methods": of_family(Family.DERIVATIVE)}, THREE),
        # alone, since it fails where a library is missing
        Case("mnist-mlp-full", {}, {"rate": 0.1, "methods": RIVALS}, THREE),
    ],
}
