"""Agreement over the order p of the perturbation's norm."""

import pandas as pd

from baselines.studies.agreement import sweep
from baselines.studies.cases import DESK, PAPER, over
from baselines.studies.chosen import compared
from samattr_ref.workload import Workload

ORDERS = (1.5, 2.0, 3.0, 5.0, float("inf"))


def measure(workload: Workload, p: float) -> pd.DataFrame:
    """Every method on the workload trained with another p.

    ρ is scaled by P^(1/p − 1/2), so that a gradient of equal coordinates is perturbed as far, in the 2-norm, as with
    p = 2.
    """
    n_parameters = workload.build()[0].n_parameters
    rho = workload.recipe.rho * n_parameters ** (1 / p - 1 / 2)
    rows = sweep(workload, compared(), workload.override(p=p, rho=rho))
    return pd.DataFrame(rows).assign(p=p, q=1 / p)


CASES = {"desk": over(DESK[1:], "p", ORDERS), "paper": over(PAPER, "p", ORDERS)}
