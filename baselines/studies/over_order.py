"""Fast SAM-HIF over the order J of its Neumann series, with the residual and where it diverges."""

import pandas as pd

from baselines.studies.agreement import sweep
from baselines.studies.cases import DESK, PAPER, over
from samattr_ref.workload import Workload

ORDERS = (1, 2, 5, 10, 20, 50, 100)
COMPARED = ("loo", "sam-hif-fast", "sam-hif", "sam-if", "if", "tracin")


def measure(workload: Workload, order: int) -> pd.DataFrame:
    """Fast SAM-HIF at one order; the methods that have none are the same at every order, for comparison."""
    return pd.DataFrame(sweep(workload, COMPARED, extra={"order": order})).assign(order=order)


CASES = {"desk": over(DESK, "order", ORDERS), "paper": over(PAPER, "order", ORDERS)}
