"""A run of which only C checkpoints are left: segments of constant curvature beside SAM-GIF and TracIn-CP."""

import pandas as pd

from baselines.studies.agreement import sweep
from baselines.studies.cases import DESK, over
from baselines.studies.chosen import with_option
from baselines.validation import GROUND_TRUTH
from samattr_ref.workload import Workload

COUNTS = (1, 2, 3, 5, 10, 30)


def measure(workload: Workload, checkpoints: int) -> pd.DataFrame:
    """The methods that work from C checkpoints."""
    frame = pd.DataFrame(
        sweep(workload, [GROUND_TRUTH, *with_option("checkpoints")], extra={"checkpoints": checkpoints})
    )
    return frame.assign(checkpoints=checkpoints)


CASES = {"beyond": over(DESK, "checkpoints", COUNTS)}
