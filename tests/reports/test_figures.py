"""Every committed figure, drawn from its rows, can be printed: nothing covers, cuts off or hides anything."""

import fnmatch
import struct

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.lines import Line2D
from matplotlib.text import Text

from benchmarks import figures as speed
from reports import noise, scatter
from reports.committed import read_rows
from reports.experiment import experiments
from reports.style import COLUMN_INCHES, PAGE_INCHES, SMALLEST
from tests.test_readme import ROOT

pytestmark = pytest.mark.slow

REFERENCE = ROOT / "reports" / "reference"
TALLEST = 9.0
"""What the pages of journals have room for, in inches, with a caption."""

HEADLINE = {"noise": noise.draw, "scatter-*": scatter.draw}
SPEED = {"scaling": speed.SECONDS, "scaling-memory": speed.BYTES}


def draw(picture):
    """The figure of one of the committed pictures, from the rows beside it."""
    name, frame = picture.stem, read_rows(picture.with_suffix(".csv"))
    if name in SPEED:
        return speed.draw(frame, SPEED[name])
    headline = next((draw for pattern, draw in HEADLINE.items() if fnmatch.fnmatch(name, pattern)), None)
    return headline(frame) if headline else experiments()[name].draw(frame)


def drawn_texts(figure, monkeypatch):
    """The texts that a figure shows, tick labels out of sight not among them, and their boxes in pixels [k, 4]."""
    shown = []
    draw = Text.draw

    def noted(text, renderer, *arguments, **options):
        if text.get_visible() and text.get_text().strip():
            shown.append(text)
        return draw(text, renderer, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Text, "draw", noted)
        figure.draw_without_rendering()
    return shown, np.array([text.get_window_extent().extents for text in shown])


def overlaps(boxes, others):
    """Which boxes [k, 4] have more than a hair in common with which others [j, 4]: [k, j]."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return ((high - low) > 1).all(-1)


def legends(figure):
    return [legend for part in (figure, *figure.subfigs) for legend in part.legends]


def looks(axis):
    """How each of a panel's lines is told apart in print without colour, those without marks left out."""
    lines = [line for line in axis.get_legend_handles_labels()[0] if isinstance(line, Line2D)]
    return [
        (line.get_marker(), line.get_fillstyle(), line.get_linestyle())
        for line in lines
        if line.get_marker() not in ("", "None", " ")
    ]


@pytest.mark.parametrize(
    "picture", sorted(REFERENCE.glob("*/*.png")), ids=lambda picture: f"{picture.parent.name}/{picture.stem}"
)
def test_a_committed_figure_can_be_printed(picture, monkeypatch):
    figure = draw(picture)
    width, height = figure.get_size_inches()
    texts, boxes = drawn_texts(figure, monkeypatch)
    said = [text.get_text() for text in texts]
    panels = [axis for axis in figure.axes if axis.axison]

    assert any(width == pytest.approx(known) for known in (PAGE_INCHES, COLUMN_INCHES))
    assert height <= TALLEST
    pixels = struct.unpack(">II", picture.read_bytes()[16:24])
    assert pixels == pytest.approx((width * figure.dpi, height * figure.dpi), abs=1)  # the file is of this drawing

    assert {text for text, own in zip(said, texts, strict=True) if own.get_fontsize() < SMALLEST} == set()
    outside = (boxes[:, :2] < -1).any(1) | (boxes[:, 2:] > figure.bbox.size + 1).any(1)
    assert [said[i] for i in np.flatnonzero(outside)] == []
    pairs = np.argwhere(np.triu(overlaps(boxes, boxes), 1))
    assert [(said[i], said[j]) for i, j in pairs] == []

    inside = np.array([axis.get_window_extent().extents for axis in panels])
    apart = np.array([legend.get_window_extent().extents for legend in legends(figure)]).reshape(-1, 4)
    assert not overlaps(apart, inside).any()

    for axis in panels:
        assert axis.lines or axis.collections or axis.images or axis.patches
        assert axis.images or axis.get_xlabel() or figure.get_supxlabel() or not axis.get_subplotspec().is_last_row()
        assert len(looks(axis)) == len(set(looks(axis)))
    plt.close(figure)
