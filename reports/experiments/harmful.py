"""The most harmful and the most helpful training examples, looked at: are they wrong, rare or merely hard?"""

import base64
import io
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from baselines.studies.kinds_of_points import (
    ALL,
    CASES,
    FEW,
    FOLDS,
    HIGHEST,
    KINDS,
    LOWEST,
    LOWEST_RIGHT,
    NEIGHBOURS,
    NO_METHOD,
    SHARE,
    SHOWN,
    measure,
)
from reports.classes import class_name
from reports.curves import describe
from reports.experiment import Experiment
from reports.intervals import brackets, summarise
from reports.labels import label_of, labels
from reports.style import PAGE_INCHES, SMALLEST, figure_style

COLUMNS = 5
SIDES = ("left", "right")

_COLOURS = {"wrong": "#D55E00", "rare": "#0173B2", "hard": "#029E73", "none": "0.4"}
_LINES: dict[str, Any] = {"wrong": "-", "rare": "--", "hard": ":", "none": "-"}
_SAID = {"wrong": "wrong label", "rare": "rare", "hard": "hard", "none": "none of these"}
_CALLED = {LOWEST: "most harmful", HIGHEST: "most helpful"}

HEADINGS = {
    **{kind: kind.capitalize() for kind in KINDS},
    "accuracy_given": "Accuracy, label given",
    "accuracy_clean": "Accuracy, right label",
    "loss_given": "Loss, label given",
    "loss_clean": "Loss, right label",
}


def draw(frame: pd.DataFrame) -> Figure:
    """The images of lowest and of highest score by each workload's first method, of the first seed."""
    shown = frame[frame["image"].notna() & (frame["seed"] == frame["seed"].min())]
    workloads = list(dict.fromkeys(shown["workload"]))
    rows = -(-SHOWN // COLUMNS)
    with figure_style():
        height = 0.3 + (0.25 + 0.9 * rows) * len(workloads)
        figure = plt.figure(figsize=(PAGE_INCHES, height), layout="constrained")
        blocks = figure.subfigures(len(workloads), 1, squeeze=False)[:, 0]
        for workload, block in zip(workloads, blocks, strict=True):
            part = shown[shown["workload"] == workload]
            ends = " and ".join(f"{called} ({side})" for called, side in zip(_CALLED.values(), SIDES, strict=True))
            block.suptitle(f"{workload}: {ends} by {label_of(part['method'].iloc[0])}")
            widths = [*[1] * COLUMNS, 0.2, *[1] * COLUMNS]
            axes = block.subplots(rows, len(widths), squeeze=False, gridspec_kw={"width_ratios": widths})
            for axis in axes.flat:
                axis.set_axis_off()
            for group, half in zip(_CALLED, (axes[:, :COLUMNS], axes[:, COLUMNS + 1 :]), strict=True):
                for axis, (_, row) in zip(half.flat, part[part["group"] == group].iterrows(), strict=False):
                    _draw_image(axis, row)
        handles = [
            Line2D([], [], color=_COLOURS[kind], linestyle=_LINES[kind], linewidth=1.5, label=_SAID[kind])
            for kind in KINDS
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(KINDS), frameon=False)
    return figure


def _draw_image(axis: Axes, row: pd.Series) -> None:
    """One image in the colour of its kind, with the label given, and in brackets the right one where it is another."""
    colour = _COLOURS[row["kind"]]
    axis.set_axis_on()
    axis.imshow(pixels(row["image"]), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    axis.set_title(said(row["workload"], row["given"], row["clean"]), fontsize=SMALLEST, color=colour, pad=2)
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(visible=True, color=colour, linewidth=1.5, linestyle=_LINES[row["kind"]])


def said(workload: str, given: float, clean: float) -> str:
    """A label as it was given, and in brackets the right one where it is another: in a line of its own if it is long.

    >>> said("digits-mlp", 2, 4), said("cifar10n-cnn", 8, 8), said("cifar10n-cnn", 8, 6).splitlines()
    ('2 (4)', 'ship', ['ship', '(frog)'])
    """
    names = [class_name(workload, int(label)) for label in (given, clean)]
    if given == clean:
        return names[0]
    return f"{names[0]}{' ' if max(map(len, names)) < 3 else chr(10)}({names[1]})"


def pixels(image: str) -> np.ndarray:
    """The pixels of a PNG file in base64, in [0, 1]: [h, w] or [h, w, 3]."""
    found: np.ndarray = plt.imread(io.BytesIO(base64.b64decode(image)))
    return found


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """What kinds of points each method finds most harmful and most helpful, and what the network makes of them.

    Of the first method alone, the lowest with a right label have a row of their own.
    """
    means = summarise(frame[frame["image"].isna()], ["workload", "method", "group"], list(HEADINGS))
    first = _first_methods(frame)
    means = means[(means["group"] != LOWEST_RIGHT) | (means["method"] == means["workload"].map(first))]
    size = _per_cent(SHARE)
    called = {
        ALL: "all points",
        LOWEST: f"lowest {size}",
        LOWEST_RIGHT: f"lowest {size}, right label",
        HIGHEST: f"highest {size}",
    }
    table = pd.DataFrame({"Workload": means["workload"], "Method": labels(means), "Points": means["group"].map(called)})
    return table.assign(**brackets(means, HEADINGS, digits=2)).reset_index(drop=True)


def _first_methods(frame: pd.DataFrame) -> dict[str, str]:
    """The method by which each workload's images are chosen."""
    shown = frame[frame["image"].notna()].drop_duplicates("workload")
    return dict(zip(shown["workload"], shown["method"], strict=True))


def caption(frame: pd.DataFrame) -> str:
    """What makes a point wrong, rare or hard, and what the table's columns are."""
    return (
        "The training points of lowest and of highest Influence Score, of the first seed: above each the label given, "
        "in brackets the right one where it is another. Wrong: the label is wrong. Rare: the label is right, and fewer "
        f"than {FEW} of the {NEIGHBOURS} nearest training inputs have it as their right label. Hard: right and not "
        f"rare, but the same run without the point's fold ({FOLDS} folds) predicts another class. Table: the share of "
        "each kind, and the accuracy and mean loss (nats) of the network itself, by the label given and by the right "
        f"one, over all points and over the {_per_cent(SHARE)} of them with the lowest and with the highest scores; in "
        f"a row of their own, those of the lowest whose label is right ({describe(frame)}; 95 % t-intervals)."
    )


def answer(frame: pd.DataFrame) -> str:
    """What the lowest points are by each workload's first method, and what the network makes of them."""
    means = frame[frame["image"].isna()].groupby(["workload", "method", "group"])[list(HEADINGS)].mean()
    parts = []
    for workload, method in _first_methods(frame).items():
        lowest, right = (means.loc[(workload, method, group)] for group in (LOWEST, LOWEST_RIGHT))
        every = means.loc[(workload, NO_METHOD, ALL)]
        kinds = ", ".join(f"{_per_cent(lowest[kind])} {_SAID[kind]}" for kind in KINDS)
        parts.append(
            f"Of the {_per_cent(SHARE)} of the points of {workload} with the lowest scores by {label_of(method)}: "
            f"{kinds}. The network gives {_per_cent(lowest['accuracy_given'])} of them the label given and "
            f"{_per_cent(lowest['accuracy_clean'])} the right one."
        )
        if pd.notna(right["accuracy_clean"]):
            parts.append(
                f"Of those whose label is right it gets {_per_cent(right['accuracy_clean'])} right, at a mean loss of "
                f"{right['loss_clean']:.2f}; of all points {_per_cent(every['accuracy_clean'])}, at "
                f"{every['loss_clean']:.2f}."
            )
    return " ".join(parts)


def _per_cent(share: float) -> str:
    """A share in whole per cent.

    >>> _per_cent(0.05)
    '5 %'
    """
    return f"{100 * share:.0f} %"


EXPERIMENT = Experiment(
    name="harmful",
    title="The most harmful and the most helpful examples",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
    answer=answer,
)
