"""Agreement over the order p of the perturbation's norm."""

import pandas as pd
from matplotlib.figure import Figure

from baselines.agreement import sweep
from reports.curves import BAND, describe, draw_curves, tabulate_curves
from reports.experiment import DESK, PAPER, Experiment, over
from reports.results import COMPARED
from samattr_ref.workload import Workload

ORDERS = (1.5, 2.0, 3.0, 5.0, float("inf"))


def measure(workload: Workload, p: float) -> pd.DataFrame:
    """Every method on the workload trained with another p.

    ρ is scaled by P^(1/p − 1/2), so that a gradient of equal coordinates is perturbed as far, in the 2-norm, as with
    p = 2.
    """
    n_parameters = workload.build()[0].n_parameters
    rho = workload.recipe.rho * n_parameters ** (1 / p - 1 / 2)
    rows = sweep(workload, COMPARED, workload.override(p=p, rho=rho))
    return pd.DataFrame(rows).assign(p=p, q=1 / p)


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman and noise AUC over 1/p."""
    return draw_curves(frame, "q", "order of the norm, 1/p")


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Spearman at each p."""
    return tabulate_curves(frame, "p", "p =")


def caption(frame: pd.DataFrame) -> str:
    """What is shown."""
    orders = ", ".join(f"{p:g}" for p in sorted(frame["p"].unique()))
    return (
        f"Networks trained with p = {orders} and ρ scaled by P^(1/p − 1/2) ({describe(frame)}); lines are means, "
        f"{BAND}. For p = ∞ (1/p = 0) the perturbation's derivative is zero and the coupled forms coincide with "
        "SAM-IF. Black: exact LOO."
    )


EXPERIMENT = Experiment(
    name="p-norm",
    title="Order of the perturbation's norm",
    measure=measure,
    cases={"desk": over(DESK[1:], "p", ORDERS), "paper": over(PAPER, "p", ORDERS)},
    draw=draw,
    caption=caption,
    tabulate=tabulate,
)
