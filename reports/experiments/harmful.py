"""The most harmful and the most helpful training examples, looked at: are they wrong, rare or merely hard?"""

import base64
import io

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
from reports.curves import describe
from reports.experiment import Experiment
from reports.intervals import brackets, summarise
from reports.labels import label_of, labels
from reports.style import PAGE_INCHES, figure_style

COLUMNS = 5

_COLOURS = {"wrong": "#D55E00", "rare": "#0173B2", "hard": "#029E73", "none": "0.4"}
_SAID = {"wrong": "wrong label", "rare": "rare", "hard": "hard", "none": "none of these"}
_CALLED = {LOWEST: "most harmful", HIGHEST: "most helpful"}

HEADINGS = {
    **{kind: kind.capitalize() for kind in KINDS},
    "accuracy_given": "Accuracy, label given",
    "accuracy_clean": "Accuracy, right label",
    "loss_given": "Loss, label given",
    "loss_clean": "Loss, right label",
}

_CIFAR10 = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CLASSES = {"cifar10-": _CIFAR10, "cifar10n-": _CIFAR10}
"""What classes are called where a number says nothing, in short, by the beginning of a workload's name."""


def draw(frame: pd.DataFrame) -> Figure:
    """The images of lowest and of highest score by each workload's first method, of the first seed."""
    shown = frame[frame["image"].notna() & (frame["seed"] == frame["seed"].min())]
    workloads = list(dict.fromkeys(shown["workload"]))
    rows = -(-SHOWN // COLUMNS)
    with figure_style():
        height = 0.3 + (0.25 + 0.8 * rows) * len(workloads)
        figure = plt.figure(figsize=(PAGE_INCHES, height), layout="constrained")
        blocks = figure.subfigures(len(workloads), len(_CALLED), squeeze=False, wspace=0.04)
        for workload, pair in zip(workloads, blocks, strict=True):
            for (group, called), block in zip(_CALLED.items(), pair, strict=True):
                part = shown[(shown["workload"] == workload) & (shown["group"] == group)]
                block.suptitle(f"{workload}: {called} by {label_of(part['method'].iloc[0])}", fontsize=8)
                axes = list(block.subplots(rows, COLUMNS).flat)
                for axis, (_, row) in zip(axes, part.iterrows(), strict=False):
                    _draw_image(axis, row)
                for axis in axes[len(part) :]:
                    axis.set_axis_off()
        handles = [Line2D([], [], color=_COLOURS[kind], linewidth=3, label=_SAID[kind]) for kind in KINDS]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(KINDS), frameon=False)
    return figure


def _draw_image(axis: Axes, row: pd.Series) -> None:
    """One image in the colour of its kind, with the label given, and in brackets the right one where it is another."""
    colour = _COLOURS[row["kind"]]
    axis.imshow(pixels(row["image"]), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    given, clean = (class_name(row["workload"], int(row[label])) for label in ("given", "clean"))
    title = given if given == clean else f"{given} ({clean})"
    axis.set_title(title, fontsize=6.5, color=colour, pad=2)
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(visible=True, color=colour, linewidth=1.2)


def pixels(image: str) -> np.ndarray:
    """The pixels of a PNG file in base64, in [0, 1]: [h, w] or [h, w, 3]."""
    found: np.ndarray = plt.imread(io.BytesIO(base64.b64decode(image)))
    return found


def class_name(workload: str, label: int) -> str:
    """What a class is called.

    >>> class_name("cifar10n-cnn", 9), class_name("digits-mlp", 9)
    ('truck', '9')
    """
    names = next((names for start, names in _CLASSES.items() if workload.startswith(start)), None)
    return names[label] if names else str(label)


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
