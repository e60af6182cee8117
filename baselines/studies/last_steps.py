"""Only the last τ steps of the run, with and without an implicit tail: fidelity and cost."""

import pandas as pd

from baselines.studies.cases import DESK, over
from baselines.studies.loo_and_lds import fidelity
from samattr_ref.workload import Workload

SHARES = (0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0)
TAIL = 0.01
WITH_TAIL = "with a tail"


def measure(workload: Workload, share: float) -> pd.DataFrame:
    """`sam-unrolled` over the last share of the steps, alone and with a tail, beside the methods at the two ends."""
    last = max(1, round(share * workload.recipe.steps))
    alone = fidelity(workload, ["sam-unrolled"], (), 0, {"sam-unrolled": {"last": last}})
    tailed = fidelity(workload, ["sam-unrolled"], (), 0, {"sam-unrolled": {"last": last, "tail_damping": TAIL}})
    ends = fidelity(workload, ["sam-hif-implicit", "sam-gif"], (), 0)
    frames = [alone.assign(how=""), tailed.assign(how=WITH_TAIL), ends.assign(how="")]
    return pd.concat(frames).assign(share=share)


CASES = {"beyond": over(DESK, "share", SHARES)}
