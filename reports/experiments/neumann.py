"""Fast SAM-HIF over the order J of its Neumann series, with the residual and where it diverges."""

import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.over_order import CASES, measure
from reports.curves import BARS, ROWS, describe, draw_curves, tabulate_curves
from reports.experiment import Experiment
from reports.intervals import summarise


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman, noise AUC and the residual over J; a cross where a seed's series grew instead of shrinking."""
    own = frame["residual"].where(frame["method"] == "sam-hif-fast")
    figure = draw_curves(
        frame.assign(residual=own),
        "order",
        "order J of the Neumann series",
        {**ROWS, "residual": "relative residual"},
        "log",
    )
    fast = summarise(frame[frame["method"] == "sam-hif-fast"], ["workload", "order"], ["residual"])
    diverged = frame[frame["status"].str.contains("diverged")].groupby(["workload", "order"]).size()
    panels = list(dict.fromkeys(frame["workload"]))
    axes = [axis for axis in figure.axes if axis.get_xlabel()]
    for panel, axis in zip(panels, axes, strict=True):
        at = [order for name, order in diverged.index if name == panel]
        top = fast.loc[fast["workload"] == panel, "residual"].max()
        axis.plot(at, [top] * len(at), linestyle="", marker="x", color="black", markersize=5)
    return figure


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Spearman at each order; a dash where every seed diverged."""
    return tabulate_curves(frame, "order", "J =")


def caption(frame: pd.DataFrame) -> str:
    """The step of the series, and how many cells diverged."""
    diverged = frame["status"].str.contains("diverged").sum()
    return (
        f"Fast SAM-HIF at order J; the others do not depend on it ({describe(frame)}); {BARS}. The step of the series "
        f"is 1/|λ_max|; {diverged} of the cells diverged and give no scores (crosses in the lowest row). Damping and "
        "curvature as chosen at J = 50."
    )


EXPERIMENT = Experiment(
    name="neumann",
    title="Order of the Neumann series",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
)
