"""The colour and marker of every method, and the style that figures are drawn in."""

import zlib
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

from baselines.studies.detection import CONFIDENT_LEARNING
from baselines.studies.edit_accuracy import NO_EDIT, RETRAINED
from baselines.studies.least_valuable import WRONG
from baselines.validation import GROUND_TRUTH
from reports.labels import label_of, with_how
from samattr_ref.registry import methods

PAGE_INCHES = 7.0


@dataclass(frozen=True)
class Style:
    """How a method is drawn, and its label."""

    label: str
    colour: str
    marker: str
    line: str


_PALETTE = sns.color_palette("colorblind", 10).as_hex()

_STYLES = {
    GROUND_TRUTH: ("black", "", "-"),
    RETRAINED: ("black", "", "-"),
    "training": ("0.45", "h", "-"),
    "retraining": ("black", "8", "-"),
    NO_EDIT: ("0.55", "", "--"),
    WRONG: ("black", "", "--"),
    CONFIDENT_LEARNING: ("#7a7a00", "p", "-"),
    "sam-unrolled": ("#00525e", "d", "-"),
    "sam-hif-implicit": (_PALETTE[2], "P", "-"),
    "sam-if": (_PALETTE[0], "o", "-"),
    "sam-hif": (_PALETTE[3], "s", "-"),
    "sam-hif-fast": (_PALETTE[1], "D", "--"),
    "sam-gif": (_PALETTE[4], "^", "-"),
    "if": (_PALETTE[9], "v", "--"),
    "dattri-if-explicit": ("#1f4e79", "v", ":"),
    "dattri-if-cg": ("#3c78b4", "v", "-."),
    "dattri-if-lissa": ("#7fa8d1", "v", "--"),
    "ekfac": ("#2a6f5e", "3", "--"),
    "curvlinops-kfac": ("#5f9e5f", "3", ":"),
    "captum-arnoldi": ("#b5651d", "3", "-."),
    "dattri-datainf": ("#7fa8d1", "3", ":"),
    "representer": ("#9c3848", "p", "--"),
    "tracin": (_PALETTE[5], "<", "-"),
    "tracin-cp": (_PALETTE[6], ">", "--"),
    "captum-tracin-cp": ("#b5651d", ">", "-."),
    "captum-tracin-cp-fast": ("#dba15d", ">", ":"),
    "trak": ("#a0522d", "4", "--"),
    "grad-dot": ("#4b1d6b", "X", ":"),
    "gradient-norm": ("#8a5a83", "1", ":"),
    "loss": ("#5a6a8a", "2", ":"),
    "cleanlab-quality": ("#a3a33a", "1", ":"),
    "label-wrong": ("0.25", "1", ":"),
    "random": (_PALETTE[7], "*", ":"),
}
"""Colour, marker and line."""

_OTHER_COLOURS = [sns.color_palette("dark").as_hex()[i] for i in (0, 3, 2, 8, 6, 5)]
_OTHER_MARKERS = ("H", "p", "8", "d", "o")


def style_of(method: str, how: str = "") -> Style:
    """How a method is drawn, and its label.

    Registered methods that have no style here take the next colour and marker each, in the order of tables, so that
    thirty look different; what is not even registered takes one by its name.

    Args:
        method: The method, or what stands beside them.
        how: How it is used, where not in its own way: its label says so, and its lines are dotted.
    """
    label = label_of(method, how)
    if method in _STYLES:
        colour, marker, line = _STYLES[method]
    else:
        others = [name for name in methods(optional=True) if name not in _STYLES]
        place = others.index(method) if method in others else zlib.crc32(method.encode())
        colour, marker = _OTHER_COLOURS[place % len(_OTHER_COLOURS)], _OTHER_MARKERS[place % len(_OTHER_MARKERS)]
        line = "-."
    return Style(label, colour, "", ":") if how else Style(label, colour, marker, line)


def styles(frame: pd.DataFrame) -> Iterator[tuple[Style, pd.DataFrame]]:
    """The rows of each method, and of each way that it is used in (`how`), with their style, in order of appearance."""
    for (method, how), part in with_how(frame).groupby(["method", "how"], sort=False, dropna=False):
        yield style_of(method, how), part


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
    """A figure of the page's width, its panels side by side with one y axis, more than four of them in rows of three.

    Args:
        count: How many panels.
        height: Of a row, in inches.
    """
    columns = count if count <= 4 else 3
    rows = -(-count // columns)
    size = (PAGE_INCHES, rows * height)
    figure, axes = plt.subplots(rows, columns, figsize=size, sharey=True, squeeze=False, layout="constrained")
    for unused in axes.flat[count:]:
        unused.remove()
    return figure, list(axes.flat[:count])
