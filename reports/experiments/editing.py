"""Editing the model: random, most and least valuable groups removed by an edit in place of retraining."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.edit_accuracy import CASES, RETRAINED, measure
from reports.curves import bracket, describe, legend, summarise
from reports.experiment import Experiment
from reports.style import PAGE_INCHES, figure_style, labels, looks

KINDS = {"random": "random", "most": "most valuable", "least": "least valuable"}


def draw(frame: pd.DataFrame) -> Figure:
    """Accuracy over the share removed, a column a kind of group, a row a workload."""
    workloads = list(dict.fromkeys(frame["workload"]))
    with figure_style():
        figure, axes = plt.subplots(
            len(workloads),
            len(KINDS),
            figsize=(PAGE_INCHES, 0.6 + 1.8 * len(workloads)),
            sharex=True,
            sharey="row",
            squeeze=False,
            layout="constrained",
        )
        for row, workload in zip(axes, workloads, strict=True):
            for axis, (kind, title) in zip(row, KINDS.items(), strict=True):
                part = frame[(frame["workload"] == workload) & (frame["kind"] == kind)]
                for shown, of in looks(part):
                    means = summarise(of, ["fraction"], ["accuracy"])
                    low, high = means["accuracy_low"].clip(lower=0), means["accuracy_high"].clip(upper=1)
                    axis.fill_between(means["fraction"], low, high, color=shown.colour, alpha=0.1, lw=0)
                    axis.plot(
                        means["fraction"],
                        means["accuracy"],
                        color=shown.colour,
                        linestyle=shown.line,
                        marker=shown.marker,
                        markersize=3,
                        linewidth=1.4 if of["method"].iloc[0] == RETRAINED else 1.0,
                        label=shown.label,
                    )
                axis.set_xscale("log")
                if workload == workloads[0]:
                    axis.set_title(title)
            row[0].set_ylabel(f"{workload}\nvalidation accuracy")
        for axis in axes[-1]:
            axis.set_xlabel("share removed")
            axis.set_xticks(
                sorted(frame["fraction"].unique()), [f"{f:.0%}" for f in sorted(frame["fraction"].unique())]
            )
            axis.minorticks_off()
        legend(figure, axes[:, 0])
    return figure


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Accuracy, its difference from retraining, cosine and size of the edit, seconds and memory."""
    numbers = ["accuracy", "difference", "cosine", "size", "seconds", "memory_bytes"]
    means = summarise(frame, ["workload", "kind", "fraction", "method", "how"], numbers)
    shown = pd.DataFrame(
        {
            "Workload": means["workload"],
            "Removed": [f"{KINDS[kind]} {f:.0%}" for kind, f in zip(means["kind"], means["fraction"], strict=True)],
            "Method": labels(means),
        }
    )
    headings = {"accuracy": "Accuracy", "difference": "− retrained", "cosine": "Cosine", "size": "Size, × true"}
    for name, heading in headings.items():
        shown[heading] = [bracket(*row) for row in means[[name, f"{name}_low", f"{name}_high"]].to_numpy()]
    shown["Seconds"] = [
        bracket(value, low, high, 2)
        for value, low, high in means[["seconds", "seconds_low", "seconds_high"]].to_numpy()
    ]
    shown["Peak MiB"] = [f"{value / 2**20:.0f}" for value in means["memory_bytes"]]
    return shown


def caption(frame: pd.DataFrame) -> str:
    """What is shown."""
    return (
        f"Groups removed by editing ω* against exact retraining ({describe(frame)}; means, bands and brackets are 95 "
        "% t-intervals over seeds). Value of a point: exact leave-one-out effect on the validation set where every "
        "point's is known, else the Influence Score of SAM-IF. No edit keeps ω*: an edit that does not come nearer "
        "to retraining than it has shown nothing. Cosine and size are of the edit against the true change of the "
        "parameters. “In parts” edits a third of the group at a time and linearises anew; trajectory methods give "
        "the same either way. Seconds and memory are of one edit of one group, nothing computed before (retrained: "
        "one retraining)."
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
