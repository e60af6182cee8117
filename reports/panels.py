"""Figures as grids of panels, as wide as they print: their sizes, the names of their rows, and one legend a figure."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from reports.style import COLUMN_INCHES, PAGE_INCHES, SMALLEST

LETTER = 0.6 * SMALLEST / 72
"""The width of a letter of the smallest type, in inches, more or less."""

HANDLE = 0.5
"""The width of a legend's handle with the room about it, in inches."""

LINE = 0.165
"""The height of a line of a legend, in inches."""

ROOM = 8.2
"""For the rows of a figure on a page, in inches; a legend and a caption come to it."""


def grid(rows: int, columns: int, height: float, **settings: Any) -> tuple[Figure, Any]:
    """A figure of panels: of a page's width, or of a column's where its panels stand in one column.

    Args:
        rows: Rows of panels.
        columns: Columns of panels.
        height: Of a row, in inches; less where there are too many for a page.
        **settings: What `plt.subplots` takes, such as `sharex`.

    Returns:
        The figure, and its panels [rows, columns].
    """
    size = (PAGE_INCHES if columns > 1 else COLUMN_INCHES, 0.3 + min(height * rows, ROOM))
    return plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained", **settings)


def row_of_panels(count: int, height: float, most: int = 4) -> tuple[Figure, Sequence[Axes]]:
    """Panels side by side with one y axis, more than `most` in rows of fewer; the legend takes what is left over.

    Args:
        count: How many panels.
        height: Of a row, in inches.
        most: Panels side by side.
    """
    columns = count if count <= most else max(2, most - 1)
    figure, axes = grid(-(-count // columns), columns, height, sharey=True)
    for unused in axes.flat[count:]:
        unused.set_axis_off()
    return figure, list(axes.flat[:count])


def page_of(axis: Axes) -> Figure:
    """The whole figure that a panel is in."""
    figure = axis.get_figure(root=True)
    assert figure is not None, "the panel was removed"
    return figure


def columns_of(axis: Axes) -> int:
    """How many panels stand side by side where this one does."""
    place = axis.get_subplotspec()
    return place.get_gridspec().ncols if place else 1


def label_y(axes: Iterable[Axes], text: str) -> None:
    """Label the y axis that panels share, beside the first of each row."""
    for axis in axes:
        place = axis.get_subplotspec()
        if place and place.is_first_col():
            axis.set_ylabel(text)


def name_row(row: Sequence[Axes], name: str) -> None:
    """Write what a row of panels shows beside the last one of them."""
    last = row[-1]
    last.text(
        1.03,
        0.5,
        name,
        transform=last.transAxes,
        rotation=270,
        ha="left",
        va="center",
        multialignment="center",
        fontsize=8,
    )


def name_points(axis: Axes, points: np.ndarray, names: Sequence[str]) -> None:
    """Write a name beside each point, where it covers neither another name nor a point; the layout is settled first.

    Args:
        axis: The panel, with all that changes its layout drawn.
        points: Places in it [k, 2].
        names: Short ones.
    """
    page_of(axis).draw_without_rendering()
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in axis.transData.transform(points)]
    for point, name in zip(points, names, strict=True):
        for distance, angle in itertools.product((6, 10, 14, 18), np.arange(0.25, 2.25, 0.25) * np.pi):
            aside = (distance * np.cos(angle), distance * np.sin(angle))
            text = axis.annotate(name, tuple(point), aside, textcoords="offset points", ha="center", va="center")
            text.set_in_layout(False)
            box = text.get_window_extent()
            if not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()


def legend(figure: Figure, axes: Iterable[Axes], columns: int | None = None) -> None:
    """One legend for the whole figure, of all that the axes show: in an empty panel, or below, where it makes its room.

    Args:
        figure: The figure.
        axes: Its panels.
        columns: Columns of the legend below; by default as many as there is room for.
    """
    shown: dict[str, Artist] = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        shown |= {label: handle for label, handle in zip(labels, handles, strict=True) if label not in shown}
    entries = list(shown.values()), list(shown)
    spare = next((axis for axis in figure.axes if not axis.axison), None)
    if spare:
        spare.legend(*entries, loc="center", frameon=False)
        return
    width, height = figure.get_size_inches()
    lines = -(-len(shown) // columns) if columns else _lines(list(shown), width)
    figure.set_size_inches(width, height + 0.05 + LINE * lines)
    figure.legend(*entries, loc="outside lower center", ncols=max(1, -(-len(shown) // max(1, lines))), frameon=False)


def _lines(labels: Sequence[str], width: float) -> int:
    """The fewest lines that labels take in columns, each as wide as its longest, within a width in inches."""
    for lines in range(1, len(labels)):
        columns = [labels[i : i + lines] for i in range(0, len(labels), lines)]
        if sum(HANDLE + LETTER * max(map(len, column)) for column in columns) < width:
            return lines
    return len(labels)
