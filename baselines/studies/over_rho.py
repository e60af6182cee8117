"""Agreement over the perturbation radius ρ: networks trained with each and attributed with the same."""

import pandas as pd

from baselines.studies.agreement import sweep
from baselines.studies.cases import DESK, PAPER, over
from baselines.studies.chosen import compared
from samattr_ref.workload import Workload

RADII = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)


def measure(workload: Workload, rho: float) -> pd.DataFrame:
    """Every method on the workload trained with another ρ; options as chosen at the workload's own."""
    rows = sweep(workload, compared(), workload.override(rho=rho))
    return pd.DataFrame(rows).assign(rho=rho)


CASES = {"desk": over(DESK, "rho", RADII), "paper": over(PAPER, "rho", RADII)}
