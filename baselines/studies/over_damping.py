"""Agreement over the damping δ of the implicit methods."""

import pandas as pd

from baselines.studies.agreement import sweep
from baselines.studies.cases import DESK, PAPER, over
from baselines.studies.chosen import of_family
from baselines.validation import GROUND_TRUTH
from samattr_ref.registry import Family
from samattr_ref.workload import Workload

DAMPINGS = (0.0, 1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)


def measure(workload: Workload, damping: float) -> pd.DataFrame:
    """The implicit methods at one damping, the curvature as chosen on held-out queries."""
    methods = [GROUND_TRUTH, *of_family(Family.IMPLICIT), "tracin"]
    return pd.DataFrame(sweep(workload, methods, extra={"damping": damping})).assign(damping=damping)


CASES = {"desk": over(DESK, "damping", DAMPINGS), "paper": over(PAPER, "damping", DAMPINGS)}
