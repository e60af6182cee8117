"""Removing the tenth of the training points that each method values most: retrained and edited accuracy."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.most_valuable import CASES, FRACTION, measure
from reports.curves import bracket, describe, legend, summarise
from reports.experiment import Experiment
from reports.style import PAGE_INCHES, figure_style, labels, look

HEADINGS = {"retrained_drop": "Drop, retrained", "edited_drop": "Drop, edited", "difference": "Edited − retrained"}


def draw(frame: pd.DataFrame) -> Figure:
    """Drops of accuracy a method, retrained beside edited, a panel a workload."""
    panels, names = (list(dict.fromkeys(frame[column])) for column in ("workload", "method"))
    places = {name: len(names) - i for i, name in enumerate(names)}
    with figure_style():
        figure, axes = plt.subplots(
            1, len(panels), figsize=(PAGE_INCHES, 2.7), sharey=True, squeeze=False, layout="constrained"
        )
        for axis, panel in zip(axes[0], panels, strict=True):
            part = frame[frame["workload"] == panel]
            means = summarise(part, ["method"], ["retrained_drop", "edited_drop"])
            rows = means["method"].map(places)
            for value, fill, shift, label in (
                ("retrained_drop", True, 0.15, "retrained"),
                ("edited_drop", False, -0.15, "edited by the method"),
            ):
                colours = [look(name).colour for name in means["method"]]
                for y, mean, low, high, colour in zip(
                    rows + shift, means[value], means[f"{value}_low"], means[f"{value}_high"], colours, strict=True
                ):
                    axis.plot([low, high], [y, y], color=colour, linewidth=0.8)
                    axis.plot(mean, y, "o", color=colour, markersize=4, fillstyle="full" if fill else "none")
                axis.plot([], [], "o", color="0.3", markersize=4, fillstyle="full" if fill else "none", label=label)
            axis.axvline(0, color="0.8", linewidth=0.6, zorder=0)
            axis.set_yticks(list(places.values()), [look(name).label for name in names])
            axis.set(title=panel, xlabel="drop in validation accuracy")
        legend(figure, axes[0, :1], "outside lower center", 2)
    return figure


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Drops of accuracy and the difference of edited and retrained accuracy."""
    means = summarise(frame, ["workload", "method"], list(HEADINGS))
    shown = pd.DataFrame({"Workload": means["workload"], "Method": labels(means)})
    for name, heading in HEADINGS.items():
        shown[heading] = [bracket(*row) for row in means[[name, f"{name}_low", f"{name}_high"]].to_numpy()]
    return shown


def caption(frame: pd.DataFrame) -> str:
    """What is shown."""
    return (
        f"The {FRACTION:.0%} of the training points with the highest Influence Score of each method removed together "
        f"({describe(frame)}; 95 % t-intervals over seeds). Filled: drop in validation accuracy of the retrained "
        "network; hollow: of the network edited by the same method. Difference: edited − retrained accuracy; 0 is a "
        "perfect edit."
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
