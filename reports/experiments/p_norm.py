"""Agreement over the order p of the perturbation's norm."""

import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.over_p import CASES, measure
from reports.curves import BARS, describe, draw_curves, tabulate_curves
from reports.experiment import Experiment
from reports.scales import ticks_at


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman and noise AUC over 1/p."""
    figure = draw_curves(frame, "q", "order p of the norm")
    orders = frame.drop_duplicates("q").sort_values("q")
    for axis in figure.axes:
        ticks_at(axis, orders["q"].tolist(), [f"{p:g}".replace("inf", "∞") for p in orders["p"]])
    return figure


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Spearman at each p."""
    return tabulate_curves(frame, "p", "p =")


def caption(frame: pd.DataFrame) -> str:
    """How ρ is scaled with p."""
    orders = ", ".join(f"{p:g}" for p in sorted(frame["p"].unique()))
    return (
        f"Networks trained with p = {orders} and ρ scaled by P^(1/p − 1/2) ({describe(frame)}); lines are means, "
        f"{BARS}. For p = ∞ (1/p = 0) the perturbation's derivative is zero and the coupled forms coincide with "
        "SAM-IF. Black: exact LOO."
    )


EXPERIMENT = Experiment(
    name="p-norm",
    title="Order of the perturbation's norm",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
)
