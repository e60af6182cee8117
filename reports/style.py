"""How methods look in every figure, and the style that figures are drawn in."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import matplotlib as mpl
import seaborn as sns

from baselines.validation import GROUND_TRUTH

COLUMN_INCHES = 3.4
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

_VARIANTS = {
    "self-influence ": "{} self-influence",
    "-in-parts": "{}, in parts",
    " by batch": "{}, by batch",
    " forward": "{}, forward mode",
    " from checkpoints": "{}, from checkpoints",
    " tail": "{}, with a tail",
    " Newton": "{}, Newton step",
    " √T memory": "{}, √T memory",
}


def look(method: str) -> Look:
    """A method's look, dotted where it is a variant of one; one that is not ours is grey, under its own name."""
    for variant, label in _VARIANTS.items():
        if method.startswith(variant) or method.endswith(variant):
            of = look(method.removeprefix(variant).removesuffix(variant))
            return Look(label.format(of.label), of.colour, "", ":")
    return _LOOKS.get(method, Look(method, "0.35", "h", "-."))


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
