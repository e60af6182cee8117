"""Agreement over the damping δ of the implicit methods."""

import pandas as pd

from baselines.studies.agreement import sweep
from baselines.studies.cases import DESK, PAPER, over
from samattr_ref.workload import Workload

DAMPINGS = (0.0, 1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
COMPARED = ("loo", "sam-hif-implicit", "sam-if", "sam-hif", "sam-hif-fast", "if", "tracin")


def measure(workload: Workload, damping: float) -> pd.DataFrame:
    """The implicit methods at one damping, the curvature as chosen on held-out queries."""
    return pd.DataFrame(sweep(workload, COMPARED, extra={"damping": damping})).assign(damping=damping)


CASES = {"desk": over(DESK, "damping", DAMPINGS), "paper": over(PAPER, "damping", DAMPINGS)}
