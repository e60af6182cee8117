"""Validation shift: scores made for one validation set, used under another."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.shift_check import CASES, shift_check
from reports.curves import describe, legend
from reports.experiment import Experiment
from reports.intervals import brackets, summarise, triple
from reports.labels import labels
from reports.style import PAGE_INCHES, figure_style, style_of

COLUMNS = {
    "rank_agreement": "Own scores, before with after",
    "loo_after": "Scores after with LOO after",
    "loo_before": "Scores before with LOO after",
}


def draw(frame: pd.DataFrame) -> Figure:
    """Two rows a workload: agreement of stale scores with LOO after the shift; accuracy after removal by them."""
    workloads = list(dict.fromkeys(frame["workload"]))
    with figure_style():
        figure, axes = plt.subplots(
            2,
            len(workloads),
            figsize=(PAGE_INCHES, 4.2),
            sharex="col",
            sharey="row",
            squeeze=False,
            layout="constrained",
        )
        for column, workload in enumerate(workloads):
            part = frame[frame["workload"] == workload]
            shifts = list(dict.fromkeys(part["shift"]))
            names = list(dict.fromkeys(part["method"]))
            for i, name in enumerate(names):
                offset = (i - (len(names) - 1) / 2) * 0.75 / len(names)
                for row, value in enumerate(("loo_before", "gain_before")):
                    means = summarise(part[part["method"] == name], ["shift"], [value])
                    x = np.arange(len(shifts)) + offset
                    mean, low, high = (means[column] for column in triple(value))
                    shown = style_of(name)
                    axes[row, column].errorbar(
                        x,
                        mean,
                        yerr=[mean - low, high - mean],
                        color=shown.colour,
                        marker=shown.marker or "_",
                        markersize=3,
                        elinewidth=0.6,
                        linestyle="",
                        label=shown.label,
                    )
            axes[0, column].set(title=workload, ylim=(-1.05, 1.05))
            axes[1, column].set_xticks(range(len(shifts)), shifts)
            axes[1, column].set_xlabel("shift of the validation set")
            axes[1, column].axhline(0, color="0.7", linewidth=0.6, zorder=0)
        axes[0, 0].set_ylabel("Spearman of scores before\nwith exact LOO after")
        axes[1, 0].set_ylabel("accuracy gained after the shift\nby removal before it")
        legend(figure, axes[:, 0])
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
