"""What every method costs in units of one plain training run of the same network: what a user plans with."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from baselines.comparison import SIZE
from baselines.studies.cases import LARGE
from baselines.studies.cost_in_trainings import BOUNDED, CASES, DAMPED, MANY, measure
from reports.curves import describe
from reports.dots import Mark, draw_dots
from reports.experiment import Experiment
from reports.intervals import brackets, summarise
from reports.labels import labels
from reports.load import starred
from reports.style import styles

HEADINGS = {"mean": "Mean query", "many": f"{MANY} queries"}


def draw(frame: pd.DataFrame) -> Figure:
    """Cost of each method, a panel a workload."""
    rows = [shown for shown, _ in styles(frame)]
    ids = ["workload", "seed", "row"]
    dots = frame.assign(row=labels(frame)).melt(ids, list(HEADINGS), var_name="series")
    marks = {name: Mark(heading.lower(), filled=name == "mean") for name, heading in HEADINGS.items()}
    return draw_dots(dots, rows, marks, "plain trainings", 1, SIZE, "log")


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Cost of each method and workload."""
    means = summarise(frame, ["workload", "method", "how"], list(HEADINGS))
    shown = pd.DataFrame({"Workload": means["workload"], "Method": labels(means)})
    return shown.assign(**brackets(means, HEADINGS, digits=2))


def caption(frame: pd.DataFrame) -> str:
    """What a plain training is, and the options of each method."""
    return (
        "Seconds for the scores of all training points over those of one plain training, both the least of alternating "
        f"calls in one process ({describe(frame)}); 95 % t-intervals over seeds. Plain training: autograd and foreach "
        f"updates, nothing kept. {MANY} queries are scored together. Implicit methods: Gauss-Newton, damping "
        f"{DAMPED['damping']}, on the image workloads a Neumann series of order {LARGE['order']} for the mean query "
        "alone; on the CNN every method for the mean query alone."
    )


def answer(frame: pd.DataFrame) -> str:
    """What the exact derivative costs."""
    own = frame[frame["method"] == "sam-unrolled"]
    means = summarise(own, ["workload", "how"], ["mean", "many"]).set_index(["workload", "how"])
    parts = []
    for workload in dict.fromkeys(frame["workload"]):
        plain, bounded = (means.loc[(workload, how)] for how in ("", BOUNDED))
        one, few = (starred(f"{row['mean']:.1f}", row["disturbed"]) for row in (plain, bounded))
        many = starred(f"{plain['many']:.0f}", plain["disturbed"])
        several = f", {many} for {MANY} queries" if np.isfinite(plain["many"]) else ""
        parts.append(f"{one} on {workload} ({few} with √T memory{several})")
    return f"The exact derivative for one query and all points costs, in plain trainings, {', '.join(parts)}."


EXPERIMENT = Experiment(
    name="cost",
    title="Cost in plain trainings",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
    answer=answer,
    timed=True,
)
