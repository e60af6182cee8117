"""Points with horizontal intervals: a panel a workload, a row a method, a mark a series."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from baselines.metrics import Limits
from reports.curves import legend
from reports.intervals import summarise
from reports.style import Style, figure_style, row_of_panels

SPREAD = 0.3
"""How far from the middle of its row the first and the last of many series are drawn."""


@dataclass(frozen=True)
class Mark:
    """How the points of a series are drawn.

    Attributes:
        label: What the legend says.
        marker: Their shape.
        filled: Whether they are.
        colour: Their colour; by default that of their row.
        size: In points.
    """

    label: str
    marker: str = "o"
    filled: bool = True
    colour: str | None = None
    size: float = 4.0


def draw_dots(
    frame: pd.DataFrame,
    rows: Sequence[Style],
    marks: Mapping[str, Mark],
    label: str,
    reference: float,
    height: float,
    limits: Limits,
    columns: int | None = None,
) -> Figure:
    """Means over seeds and their 95 % t-intervals.

    Args:
        frame: Columns `workload`, `seed`, `row` (a label of `rows`), `series` (a key of `marks`) and `value`.
        rows: The rows, from the top.
        marks: The series, from the top of a row.
        label: What the x axis says.
        reference: Where a vertical line stands: the value of what the others are held against.
        height: Of the figure, in inches.
        limits: The least and the greatest that a value can be.
        columns: Columns of the legend; by default one a series.
    """
    panels = list(dict.fromkeys(frame["workload"]))
    spread = min(SPREAD, SPREAD / 2 * (len(marks) - 1))
    shifts = np.linspace(spread, -spread, len(marks))
    heights = {row.label: len(rows) - 1 - i for i, row in enumerate(rows)}
    colours = {row.label: row.colour for row in rows}
    with figure_style():
        figure, axes = row_of_panels(len(panels), height)
        for axis, panel in zip(axes, panels, strict=True):
            means = summarise(frame[frame["workload"] == panel], ["row", "series"], ["value"], limits)
            for shift, (series, mark) in zip(shifts, marks.items(), strict=True):
                style: dict[str, Any] = {"marker": mark.marker, "markersize": mark.size}
                style["fillstyle"] = "full" if mark.filled else "none"
                for point in means[(means["series"] == series) & means["value"].notna()].itertuples():
                    y, colour = heights[point.row] + shift, mark.colour or colours[point.row]
                    axis.plot([point.value_low, point.value_high], [y, y], color=colour, linewidth=0.9)
                    axis.plot(point.value, y, color=colour, **style)
                axis.plot([], [], linestyle="", color=mark.colour or "0.3", label=mark.label, **style)
            axis.axvline(reference, color="black", linewidth=0.8)
            axis.set_yticks(list(heights.values()), list(heights))
            axis.set(title=panel, xlabel=label)
        legend(figure, axes[:1], "outside lower center", columns or len(marks))
    return figure
