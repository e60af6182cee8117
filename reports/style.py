"""How methods look in every figure, and the style that figures are drawn in."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from baselines.studies.detection import SELF_INFLUENCE
from baselines.validation import GROUND_TRUTH

PAGE_INCHES = 7.0


@dataclass(frozen=True)
class Look:
    """A method's label, colour, marker and line style."""

    label: str
    colour: str
    marker: str
    line: str


_PALETTE = sns.color_palette("colorblind", 10).as_hex()

_LOOKS = {
    GROUND_TRUTH: Look("exact LOO", "black", "", "-"),
    "retrained": Look("retrained", "black", "", "-"),
    "training": Look("training", "0.45", "h", "-"),
    "retraining": Look("retraining", "black", "8", "-"),
    "no-edit": Look("no edit", "0.55", "", "--"),
    "cleanlab": Look("confident learning", "#7a7a00", "p", "-"),
    "sam-unrolled": Look("SAM unrolled", "#00525e", "d", "-"),
    "sam-hif-implicit": Look("SAM-HIF implicit", _PALETTE[2], "P", "-"),
    "sam-if": Look("SAM-IF", _PALETTE[0], "o", "-"),
    "sam-hif": Look("SAM-HIF", _PALETTE[3], "s", "-"),
    "sam-hif-fast": Look("SAM-HIF fast", _PALETTE[1], "D", "--"),
    "sam-gif": Look("SAM-GIF", _PALETTE[4], "^", "-"),
    "if": Look("IF", _PALETTE[9], "v", "--"),
    "tracin": Look("TracIn", _PALETTE[5], "<", "-"),
    "tracin-cp": Look("TracIn-CP", _PALETTE[6], ">", "--"),
    "grad-dot": Look("Grad-Dot", "#4b1d6b", "X", ":"),
    "random": Look("random", _PALETTE[7], "*", ":"),
}


def look(method: str, how: str = "") -> Look:
    """A method's look; one that is not ours is grey, under its own name.

    Args:
        method: The method.
        how: How it is used, where not in its own way: its label says so, and its lines are dotted.
    """
    own = _LOOKS.get(method, Look(method, "0.35", "h", "-."))
    if not how:
        return own
    return Look(f"{own.label} {how}" if how == SELF_INFLUENCE else f"{own.label}, {how}", own.colour, "", ":")


def looks(frame: pd.DataFrame) -> Iterator[tuple[Look, pd.DataFrame]]:
    """The rows of each method, and of each way that it is used in (`how`), with their look, in order of appearance."""
    for (method, how), part in with_how(frame).groupby(["method", "how"], sort=False, dropna=False):
        yield look(method, how), part


def labels(frame: pd.DataFrame) -> list[str]:
    """The label of each row's method."""
    return [look(method, how).label for method, how in with_how(frame)[["method", "how"]].to_numpy()]


def with_how(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame, every method used in its own way where no column `how` says otherwise."""
    return frame if "how" in frame else frame.assign(how="")


@contextmanager
def figure_style() -> Iterator[None]:
    """The style of every figure: small serif-free type that stays legible at column width; no global state."""
    settings: dict[str, Any] = {
        **sns.axes_style("ticks"),
        "font.size": 8,
        "axes.titlesize": 8,
        "axes.labelsize": 8,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "legend.fontsize": 7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "figure.dpi": 200,
        "pdf.fonttype": 42,
        "figure.constrained_layout.use": True,
    }
    with mpl.rc_context(cast(Any, settings)):  # matplotlib's stubs want every key spelled out
        yield


def row_of_panels(count: int, height: float) -> tuple[Figure, Sequence[Axes]]:
    """A figure of the page's width and a height in inches, its panels side by side with one y axis."""
    size = (PAGE_INCHES, height)
    figure, axes = plt.subplots(1, count, figsize=size, sharey=True, squeeze=False, layout="constrained")
    return figure, axes[0]
