"""The closest published setting of same-run leave-one-out: MNIST, 6,000 points, 784-16-16-10, one epoch."""

import pandas as pd
from matplotlib.figure import Figure

from baselines.comparison import CORRELATION
from baselines.studies.kinks import CASES, NETWORKS, measure
from reports.curves import describe, tabulate_curves
from reports.dots import Mark, draw_dots
from reports.experiment import Experiment
from reports.labels import labels
from reports.style import styles


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman a method, the networks beside each other."""
    rows = [shown for shown, _ in styles(frame)]
    dots = frame.assign(row=labels(frame), series=frame["network"], value=frame["spearman"])
    marks = {
        name: Mark(name, marker, filled=name.startswith("SAM")) for name, marker in zip(NETWORKS, "ooss", strict=True)
    }
    return draw_dots(dots, rows, marks, "per-query Spearman with exact LOO", 1, CORRELATION)


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Spearman of each method on each network."""
    return tabulate_curves(frame, "network", "")


def caption(frame: pd.DataFrame) -> str:
    """The setting, and how good each network is."""
    accuracies = frame.groupby("network", sort=False)["accuracy"].mean()
    each = ", ".join(f"{name} {value:.3f}" for name, value in accuracies.items())
    return (
        "MNIST without wrong labels, a 784-16-16-10 network, batches of 64, momentum 0.9, float64, one epoch, 200 "
        f"points removed one at a time, 500 queries ({describe(frame)}); 95 % t-intervals over seeds. Validation "
        f"accuracies: {each}. Points, network and epoch are those of Deng et al. 2026 (arXiv 2605.18814), who train "
        "with AdamW."
    )


def answer(frame: pd.DataFrame) -> str:
    """What the kinks of ReLU do to the exact derivative."""
    means = frame[frame["method"] == "sam-unrolled"].groupby("network", sort=False)["spearman"].mean()
    each = ", ".join(f"{value:.3f} ({name})" for name, value in means.items())
    return (
        f"Per-query Spearman of the exact derivative with leave-one-out: {each}. With ReLU the gradient jumps wherever "
        "a point crosses a kink, so that a run is no smooth function of its points, and no derivative follows it."
    )


EXPERIMENT = Experiment(
    name="one-epoch",
    title="MNIST, 6,000 points, one epoch",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
    answer=answer,
)
