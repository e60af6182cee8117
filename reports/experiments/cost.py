"""What every method costs in units of one plain training run of the same network: what a user plans with."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.cost_in_trainings import BOUNDED, CASES, DAMPED, MANY, measure
from baselines.studies.loo_and_lds import LARGE
from reports.curves import bracket, describe, legend, summarise
from reports.experiment import Experiment
from reports.style import PAGE_INCHES, figure_style, labels, looks

HEADINGS = {"mean": "Mean query", "many": f"{MANY} queries"}


def draw(frame: pd.DataFrame) -> Figure:
    """Cost of each method, a panel a workload."""
    panels = list(dict.fromkeys(frame["workload"]))
    rows = list(reversed([shown for shown, _ in looks(frame)]))
    with figure_style():
        figure, axes = plt.subplots(
            1, len(panels), figsize=(PAGE_INCHES, 2.8), sharey=True, squeeze=False, layout="constrained"
        )
        for axis, panel in zip(axes[0], panels, strict=True):
            means = summarise(frame[frame["workload"] == panel], ["method", "how"], list(HEADINGS))
            means.index = labels(means)
            for column, fill in (("mean", "full"), ("many", "none")):
                for row, shown in enumerate(rows):
                    value = means.loc[shown.label, column]
                    if np.isfinite(value):
                        axis.plot(value, row, "o", color=shown.colour, fillstyle=fill, markersize=4)
                axis.plot([], [], "o", color="0.3", fillstyle=fill, markersize=4, label=HEADINGS[column].lower())
            axis.axvline(1, color="0.5", linewidth=0.8)
            axis.set_yticks(range(len(rows)), [shown.label for shown in rows])
            axis.set(title=panel, xscale="log", xlabel="plain trainings")
        legend(figure, axes[0, :1], "outside lower center", 2)
    return figure


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Cost of each method and workload."""
    means = summarise(frame, ["workload", "method", "how"], list(HEADINGS))
    shown = pd.DataFrame({"Workload": means["workload"], "Method": labels(means)})
    for name, heading in HEADINGS.items():
        rows = means[[name, f"{name}_low", f"{name}_high"]].to_numpy()
        shown[heading] = [bracket(value, low, high, 2) for value, low, high in rows]
    return shown


def caption(frame: pd.DataFrame) -> str:
    """What is shown."""
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
    means = own.groupby(["workload", "how"], sort=False)[["mean", "many"]].mean()
    parts = []
    for workload in dict.fromkeys(frame["workload"]):
        plain, bounded = (means.loc[(workload, how)] for how in ("", BOUNDED))
        several = f", {plain['many']:.0f} for {MANY} queries" if np.isfinite(plain["many"]) else ""
        parts.append(f"{plain['mean']:.1f} on {workload} ({bounded['mean']:.1f} with √T memory{several})")
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
