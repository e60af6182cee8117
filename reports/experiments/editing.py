"""Editing the model: random, most and least valuable groups removed by an edit in place of retraining."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.edit_accuracy import CASES, measure
from reports.curves import describe, draw_methods, parted
from reports.experiment import Experiment
from reports.intervals import bracket, brackets, limits_of, summarise
from reports.labels import labels
from reports.panels import grid, label_y, legend, name_row
from reports.scales import scale_y
from reports.style import figure_style

KINDS = {"random": "random", "most": "most valuable", "least": "least valuable"}


def draw(frame: pd.DataFrame) -> Figure:
    """Accuracy over the share removed, a column a kind of group, a row a workload; its rows share their x axis."""
    workloads = list(dict.fromkeys(frame["workload"]))
    frame = frame.assign(percent=100 * frame["fraction"])
    with figure_style():
        rows = [(workload, *group) for workload in workloads for group in parted(frame).items()]
        figure, axes = grid(len(rows), len(KINDS), 1.5, sharey="row")
        below = [*rows[1:], None]
        for row, (workload, named, group), following in zip(axes, rows, below, strict=True):
            of = group[group["workload"] == workload]
            for axis, kind in zip(row, KINDS, strict=True):
                draw_methods(axis, of[of["kind"] == kind], "percent", "accuracy", "log", span=of["percent"])
                axis.tick_params(labelbottom=following is None or following[0] != workload)
            scale_y(row, "linear", limits_of("accuracy"))
            name_row(row, f"{workload}\n{named}".strip())
        for axis, title in zip(axes[0], KINDS.values(), strict=True):
            axis.set_title(title)
        for axis in axes[-1]:
            axis.set_xlabel("points removed (%)")
        label_y(axes.flat, "validation accuracy")
        legend(figure, axes.flat)
    return figure


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Accuracy, its difference from retraining, cosine and size of the edit, seconds and memory, group by group."""
    frame = frame.iloc[frame.groupby(["workload", "kind", "fraction"], sort=False).ngroup().argsort(kind="stable")]
    times = {"seconds": "Seconds"} | ({"all_seconds": "Seconds, all groups"} if "all_seconds" in frame else {})
    numbers = ["accuracy", "difference", "cosine", "size", *times, "memory_bytes"]
    means = summarise(frame, ["workload", "kind", "fraction", "method", "how"], numbers)
    shown = pd.DataFrame(
        {
            "Workload": means["workload"],
            "Removed": [f"{KINDS[kind]} {f:.0%}" for kind, f in zip(means["kind"], means["fraction"], strict=True)],
            "Method": labels(means),
        }
    )
    headings = {"accuracy": "Accuracy", "difference": "− retrained", "cosine": "Cosine", "size": "Size, × true"}
    shown = shown.assign(**brackets(means, headings), **brackets(means, times, digits=2))
    shown["Peak MiB"] = [bracket((value / 2**20, np.nan, np.nan), 0) for value in means["memory_bytes"]]
    return shown


def caption(frame: pd.DataFrame) -> str:
    """What a point's value is, what no edit is for, and what each column measures."""
    many = ""
    if "edits" in frame:
        groups = frame.groupby("workload", sort=False)["edits"].max()
        counts = "; ".join(f"{name}: {count:.0f}" for name, count in groups.items())
        many = f" All groups: of all edits of a network, asked for at once ({counts})."
    return (
        f"Groups removed by editing ω* against exact retraining ({describe(frame)}; means, bars and brackets are 95 "
        "% t-intervals over seeds). Value of a point: exact leave-one-out effect on the validation set where every "
        "point's is known, else the Influence Score of SAM-IF. No edit keeps ω*: an edit that does not come nearer "
        "to retraining than it has shown nothing. Cosine and size are of the edit against the true change of the "
        "parameters. “In parts” edits a third of the group at a time and linearises anew; trajectory methods give "
        "the same either way. Seconds and memory are of one edit of one group, nothing computed before (retrained: "
        "one retraining)." + many
    )


EXPERIMENT = Experiment(
    name="editing",
    title="Editing the model",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
    timed=True,
)
