"""Validation shift: scores made for one validation set, used under another."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.shift_check import CASES, shift_check
from reports.curves import describe
from reports.experiment import Experiment
from reports.intervals import brackets, summarise, triple
from reports.labels import labels
from reports.panels import grid, legend
from reports.style import figure_style, styles

COLUMNS = {
    "rank_agreement": "Own scores, before with after",
    "loo_after": "Scores after with LOO after",
    "loo_before": "Scores before with LOO after",
}

VALUES = {
    "loo_before": "Spearman of scores before\nwith exact LOO after",
    "gain_before": "accuracy gained after\nby removal before",
}
"""What is drawn, and what its axis says."""


def draw(frame: pd.DataFrame) -> Figure:
    """Two rows a workload: agreement of stale scores with LOO after the shift; accuracy after removal by them."""
    workloads = list(dict.fromkeys(frame["workload"]))
    with figure_style():
        figure, axes = grid(2, len(workloads), 1.7, sharex="col", sharey="row")
        for column, workload in zip(axes.T, workloads, strict=True):
            part = frame[frame["workload"] == workload]
            shifts = list(dict.fromkeys(part["shift"]))
            lines = list(styles(part))
            for i, (shown, own) in enumerate(lines):
                x = np.arange(len(shifts)) + (i - (len(lines) - 1) / 2) * 0.75 / len(lines)
                look = {"color": shown.colour, "linestyle": "", "label": shown.label, **shown.seen().mark(3.0)}
                for axis, value in zip(column, VALUES, strict=True):
                    means = summarise(own, ["shift"], [value]).set_index("shift").loc[shifts]
                    _, low, high = triple(value)
                    axis.vlines(x, means[low], means[high], color=shown.colour, linewidth=0.8, alpha=0.7)
                    axis.plot(x, means[value], **look)
            for axis in column:
                axis.axhline(0, color="0.7", linewidth=0.6, zorder=0)
            column[0].set(title=workload, ylim=(-1.05, 1.05))
            column[1].set_xticks(range(len(shifts)), shifts)
            column[1].set_xlabel("shift of the validation set")
        for axis, label in zip(axes[:, 0], VALUES.values(), strict=True):
            axis.set_ylabel(label)
        legend(figure, axes[0])
    return figure


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Rank agreements and accuracies of each method and shift."""
    numbers = [*COLUMNS, "accuracy", "gain_before", "gain_after"]
    means = summarise(frame, ["workload", "shift", "method"], numbers)
    shown = pd.DataFrame(
        {
            "Workload": means["workload"],
            "Shift": means["shift"],
            "Method": labels(means),
        }
    )
    headings = COLUMNS | {
        "accuracy": "Accuracy after, nothing removed",
        "gain_before": "Gain, removed by scores before",
        "gain_after": "Gain, removed by scores after",
    }
    return shown.assign(**brackets(means, headings))


def caption(frame: pd.DataFrame) -> str:
    """The shifts, and which half of the set is for what."""
    return (
        "Influence Scores made on the clean validation set (before) and on a shifted one (after): half of the "
        f"classes, Gaussian noise, brighter, light and dark exchanged ({describe(frame)}; means with 95 % t-intervals "
        "over seeds). Spearman over training points. Gain: change of accuracy on the shifted set when the lowest 10 "
        "% by either score are removed and the network is retrained; measured on one half of the set, scored on the "
        "other."
    )


EXPERIMENT = Experiment(
    name="shift",
    title="Validation shift",
    measure=shift_check,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
)
