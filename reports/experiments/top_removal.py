"""Removing the tenth of the training points that each method values most: retrained and edited accuracy."""

import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.most_valuable import CASES, FRACTION, measure
from reports.curves import describe
from reports.dots import Mark, draw_dots
from reports.experiment import Experiment
from reports.intervals import DIFFERENCE, brackets, summarise
from reports.labels import labels
from reports.style import styles

HEADINGS = {"retrained_drop": "Drop, retrained", "edited_drop": "Drop, edited", "difference": "Edited − retrained"}
MARKS = {"retrained_drop": Mark("retrained"), "edited_drop": Mark("edited by the method", filled=False)}


def draw(frame: pd.DataFrame) -> Figure:
    """Drops of accuracy a method, retrained beside edited, a panel a workload."""
    rows = [shown for shown, _ in styles(frame)]
    dots = frame.assign(row=labels(frame)).melt(["workload", "seed", "row"], list(MARKS), var_name="series")
    return draw_dots(dots, rows, MARKS, "drop in validation accuracy", 0, DIFFERENCE)


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Drops of accuracy and the difference of edited and retrained accuracy."""
    means = summarise(frame, ["workload", "method"], list(HEADINGS))
    shown = pd.DataFrame({"Workload": means["workload"], "Method": labels(means)})
    return shown.assign(**brackets(means, HEADINGS))


def caption(frame: pd.DataFrame) -> str:
    """Which points go, and what filled and hollow points are."""
    return (
        f"The {FRACTION:.0%} of the training points with the highest Influence Score of each method removed together "
        f"({describe(frame)}; 95 % t-intervals over seeds). Filled: drop in accuracy of the retrained network, on the "
        "validation points that the scores are of; hollow: of the network edited by the same method. Difference: "
        "edited − retrained accuracy; 0 is a perfect edit."
    )


EXPERIMENT = Experiment(
    name="top-removal",
    title="Removing the most valuable tenth",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
)
