"""Influence Scores of every point of large training sets: do the methods get there, in what time and memory?"""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from baselines.studies.every_point import CASES, METHODS, full_size
from reports.curves import describe
from reports.experiment import Experiment
from reports.intervals import brackets, summarise
from reports.labels import labels
from reports.style import figure_style, row_of_panels, style_of

HEADINGS = {
    "minutes": "Minutes",
    "gib": "Process, GiB",
    "auc": "Noise AUC",
    "found": "Wrong labels in the lowest 40 %",
    "spearman_mean_query": "Spearman with LOO, mean query",
}

FEWEST = 10
"""Ranks of fewer points say nothing."""


def draw(frame: pd.DataFrame) -> Figure:
    """Share of the wrong labels found over minutes, a panel a workload."""
    frame = frame[frame["found"].notna()]
    panels = list(dict.fromkeys(frame["workload"]))
    with figure_style():
        figure, axes = row_of_panels(len(panels), 2.5)
        for axis, panel in zip(axes, panels, strict=True):
            part = frame[frame["workload"] == panel]
            for row in part.itertuples():
                shown = style_of(row.method)
                axis.plot(row.seconds / 60, row.found, marker=shown.marker or "o", color=shown.colour, linestyle="")
            axis.set(title=f"{panel}, n = {part['n_train'].iloc[0]:,}", xscale="log", xlabel="minutes", ylim=(0, 1.02))
        axes[0].set_ylabel("share of the wrong labels\nin the lowest 40 %")
        names = [name for name in METHODS if name in set(frame["method"])]
        handles = [
            Line2D([], [], color=of.colour, marker=of.marker or "o", linestyle="", label=of.label)
            for of in map(style_of, names)
        ]
        figure.legend(handles=handles, loc="outside right center", frameon=False)
    return figure


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Minutes, memory and what the scores are worth."""
    ranks = frame["spearman_mean_query"].where(frame["n_removed"] >= FEWEST)
    frame = frame.assign(minutes=frame["seconds"] / 60, gib=frame["process_bytes"] / 2**30, spearman_mean_query=ranks)
    means = summarise(frame, ["workload", "n_train", "method"], list(HEADINGS))
    shown = pd.DataFrame(
        {
            "Workload": [f"{w}, n = {n:,}" for w, n in zip(means["workload"], means["n_train"], strict=True)],
            "Method": labels(means),
        }
    )
    return shown.assign(**brackets(means, HEADINGS))


def caption(frame: pd.DataFrame) -> str:
    """What the memory and the ranks are over."""
    removed = ", ".join(f"{w}: {n}" for w, n in frame.groupby("workload", sort=False)["n_removed"].max().items())
    return (
        f"Influence Scores of every training point for the mean of the validation set ({describe(frame)}). Process: "
        "the most memory that the whole process had held by then, data and network included. Spearman: over the "
        f"points that exact LOO removed ({removed}), where they are at least {FEWEST}; LOO's minutes are theirs."
    )


EXPERIMENT = Experiment(
    name="full-size",
    title="Large training sets",
    measure=full_size,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
    timed=True,
)
