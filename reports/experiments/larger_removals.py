"""Random subsets of up to most of the points: where the derivative of the run says most of them."""

import pandas as pd
from matplotlib.figure import Figure

from baselines.comparison import CORRELATION
from baselines.studies.at_weight import BOTH, CASES, THERE, measure
from baselines.studies.loo_and_lds import SUBSETS
from reports.curves import BARS, describe, draw_curves, tabulate_curves
from reports.dots import Mark, draw_dots
from reports.experiment import Experiment
from reports.labels import labels
from reports.load import disturbed, starred
from reports.style import styles

METRICS = {"lds": "LDS"}


def draw(frame: pd.DataFrame) -> Figure:
    """LDS over the share of the points that is removed; the mean of the two ends is in the table alone."""
    frame = frame[frame["how"] != BOTH]
    if frame["fraction"].nunique() > 1:
        return draw_curves(frame, "fraction", "share α of the points removed", METRICS, "log")
    dots = frame.assign(row=labels(frame), series="", value=frame["lds"])
    marks = {"": Mark(f"{frame['fraction'].iloc[0]:.0%} of the points removed")}
    return draw_dots(dots, [shown for shown, _ in styles(frame)], marks, "LDS", 1, CORRELATION)


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """LDS at each share."""
    return tabulate_curves(frame, "fraction", "α", "lds")


def caption(frame: pd.DataFrame) -> str:
    """Where the derivative is taken, and what it costs."""
    ours = frame[frame["method"] == "sam-unrolled"].groupby("how")
    costs = {how: starred(f"{part['trainings'].median():.1f}", disturbed(part)) for how, part in ours}
    return (
        f"Linear datamodelling score over {SUBSETS} random subsets of share α, mean over queries, of the exact "
        "derivative of the run as it was, of that of the run whose points all weigh 1 − α, about which the subsets "
        f"lie, and of the mean of the two ({describe(frame)}); {BARS}. Median cost for all points and queries: "
        f"{costs['']} plain trainings at w = 1, {costs[THERE]} at w = 1 − α, its training included."
    )


def answer(frame: pd.DataFrame) -> str:
    """What the other place gains where most points are removed."""
    ours = frame[(frame["method"] == "sam-unrolled") & frame["how"].isin(["", THERE])]
    parts = []
    for workload, part in ours.groupby("workload", sort=False):
        most = part["fraction"].max()
        means = part[part["fraction"] == most].groupby("how")["lds"].mean()
        parts.append(f"{means['']:.3f} to {means[THERE]:.3f} on {workload} ({most:.0%} removed)")
    return f"Taken where all points weigh 1 − α, the exact derivative's LDS goes from {', '.join(parts)}."


EXPERIMENT = Experiment(
    name="larger-removals",
    title="Larger removals",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
    answer=answer,
    timed=True,
)
