"""The colour and marker of every method, and the style that figures are drawn in."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import matplotlib as mpl
import pandas as pd
import seaborn as sns

from baselines.studies.detection import CONFIDENT_LEARNING
from baselines.studies.edit_accuracy import NO_EDIT, RETRAINED
from baselines.studies.least_valuable import WRONG
from baselines.validation import GROUND_TRUTH
from reports.labels import label_of, with_how
from samattr_ref.registry import methods

PAGE_INCHES = 6.8
COLUMN_INCHES = 3.3
"""The width of the text of a page in a journal of two columns, and of one column: figures are as wide as they print."""

SMALLEST = 7.0
"""The least size of type, in points."""

REFERENCES = (GROUND_TRUTH, RETRAINED, NO_EDIT, WRONG)
"""What methods are held against: drawn without marks, and named before them."""


@dataclass(frozen=True)
class Style:
    """How a method is drawn, and its label.

    Attributes:
        label: Its label.
        colour: Of its lines and marks.
        marker: Their shape; none where it is empty.
        line: Of which kind its lines are.
        filled: Whether its marks are.
    """

    label: str
    colour: str
    marker: str
    line: str
    filled: bool = True

    def seen(self) -> "Style":
        """The style with a mark, where it has none, a piece of its line: of a single point no line would be seen."""
        return self if self.marker else replace(self, marker="_")

    def mark(self, size: float) -> dict[str, Any]:
        """What matplotlib's lines take for its marks, about as large to the eye as a circle of that many points."""
        fill = "full" if self.filled else "none"
        return {"marker": self.marker, "markersize": size * _SIZES.get(self.marker, 1.0), "fillstyle": fill}


_SIZES = dict.fromkeys("dPXph", 1.2) | dict.fromkeys("1234", 1.8) | {"*": 1.6, "+": 1.5, "x": 1.3, "_": 2.2}
"""How much larger a marker must be than a circle."""

_PALETTE = sns.color_palette("colorblind", 10).as_hex()

_STYLES = {
    GROUND_TRUTH: ("black", "", "-"),
    RETRAINED: ("black", "", "-"),
    "training": ("0.45", "h", "-"),
    "retraining": ("black", "8", "-"),
    NO_EDIT: ("0.55", "", "--"),
    WRONG: ("black", "", "--"),
    CONFIDENT_LEARNING: ("#2b6b3c", "p", "-."),
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
    "ekfac": ("#1227b2", "h", "--"),
    "curvlinops-kfac": ("#5f9e5f", "3", ":"),
    "captum-arnoldi": ("#b5651d", "3", "-."),
    "dattri-datainf": ("#7fa8d1", "3", ":"),
    "representer": ("#9c3848", "p", "--"),
    "tracin": (_PALETTE[5], "<", "-"),
    "tracin-cp": ("#4c4808", ">", "--"),
    "captum-tracin-cp": ("#b5651d", ">", "-."),
    "captum-tracin-cp-fast": ("#dba15d", ">", ":"),
    "trak": ("#9c57d9", "8", "--"),
    "grad-dot": ("#4b1d6b", "X", ":"),
    "gradient-norm": ("#324c4c", "x", ":"),
    "loss": ("#4a16d9", "+", ":"),
    "cleanlab-quality": ("#a3a33a", "1", ":"),
    "label-wrong": ("0.25", "2", ":"),
    "random": (_PALETTE[7], "*", ":"),
}
"""Colour, marker and line. Colours of methods that stand in one panel are told apart by readers who see no red or no
green too, and so are their markers; a method by another library has the marker of its own kind."""

_OTHER_COLOURS = [sns.color_palette("dark").as_hex()[i] for i in (0, 3, 2, 8, 6, 5)]
_OTHER_MARKERS = ("H", "p", "8", "d", "o")


def style_of(method: str, how: str = "") -> Style:
    """How a method is drawn, and its label.

    Registered methods that have no style here take the next colour and marker each, in the order of tables, so that
    thirty look different; what is not even registered takes one by its name.

    Args:
        method: The method, or what stands beside them.
        how: How it is used, where not in its own way: its label says so, its lines are dotted and its marks hollow.
    """
    label = label_of(method, how)
    if method in _STYLES:
        colour, marker, line = _STYLES[method]
    else:
        others = [name for name in methods(optional=True) if name not in _STYLES]
        place = others.index(method) if method in others else zlib.crc32(method.encode())
        colour, marker = _OTHER_COLOURS[place % len(_OTHER_COLOURS)], _OTHER_MARKERS[place % len(_OTHER_MARKERS)]
        line = "-."
    return Style(label, colour, marker, ":", filled=False) if how else Style(label, colour, marker, line)


def styles(frame: pd.DataFrame) -> Iterator[tuple[Style, pd.DataFrame]]:
    """The rows of each method, and of each way that it is used in (`how`), with their style.

    The references come first, then methods in the order of tables, then what else there is, and the ways of each in
    order of appearance.
    """
    places = {name: place for place, name in enumerate([*REFERENCES, *methods(optional=True)])}
    parts = with_how(frame).groupby(["method", "how"], sort=False, dropna=False)
    for (method, how), part in sorted(parts, key=lambda item: places.get(item[0][0], len(places))):
        yield style_of(method, how), part


@contextmanager
def figure_style() -> Iterator[None]:
    """The style of every figure: small serif-free type that is legible at the size that it prints; no global state."""
    settings: dict[str, Any] = {
        **sns.axes_style("ticks"),
        "font.size": SMALLEST,
        "axes.titlesize": 8,
        "axes.labelsize": 8,
        "figure.labelsize": 8,
        "figure.titlesize": 8,
        "figure.titleweight": "normal",
        "xtick.labelsize": SMALLEST,
        "ytick.labelsize": SMALLEST,
        "legend.fontsize": SMALLEST,
        "xtick.major.size": 3,
        "ytick.major.size": 3,
        "xtick.minor.size": 1.5,
        "ytick.minor.size": 1.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "figure.dpi": 200,
        "pdf.fonttype": 42,
        "figure.constrained_layout.use": True,
    }
    with mpl.rc_context(cast(Any, settings)):  # matplotlib's stubs want every key spelled out
        yield
