"""Influence Scores of every point of large training sets: do the methods get there, in what time and memory?"""

import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.every_point import CASES, full_size
from reports.curves import describe
from reports.experiment import Experiment
from reports.intervals import brackets, limits_of, summarise
from reports.labels import labels
from reports.panels import label_y, legend, row_of_panels
from reports.scales import scale_x, scale_y
from reports.style import figure_style, styles

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
        figure, axes = row_of_panels(len(panels), 1.9)
        for axis, panel in zip(axes, panels, strict=True):
            part = frame[frame["workload"] == panel]
            for shown, of in styles(frame):
                own = of[of["workload"] == panel]
                look = {"color": shown.colour, "linestyle": "", "label": shown.label, **shown.mark(4.5)}
                axis.plot(own["seconds"] / 60, own["found"], **look)
            axis.set(title=f"{panel}, n = {part['n_train'].iloc[0]:,}", xlabel="minutes")
            scale_x(axis, "log", part["seconds"] / 60)
        scale_y(axes, "linear", limits_of("found"))
        label_y(axes, "share of the wrong labels\nin the lowest 40 %")
        legend(figure, axes)
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
