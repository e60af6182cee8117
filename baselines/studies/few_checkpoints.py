"""A run of which only C checkpoints are left: segments of constant curvature beside SAM-GIF and TracIn-CP."""

import pandas as pd

from baselines.studies.agreement import sweep
from baselines.studies.cases import DESK, over
from samattr_ref.workload import Workload

COUNTS = (1, 2, 3, 5, 10, 30)
COMPARED = ("loo", "sam-unrolled", "sam-gif", "tracin-cp")


def measure(workload: Workload, checkpoints: int) -> pd.DataFrame:
    """The methods that work from C checkpoints."""
    frame = pd.DataFrame(sweep(workload, COMPARED, extra={"checkpoints": checkpoints}))
    return frame.assign(checkpoints=checkpoints)


CASES = {"beyond": over(DESK, "checkpoints", COUNTS)}
