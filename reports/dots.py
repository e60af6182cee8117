"""Points with horizontal intervals: a panel a workload, a row a method, a mark a series."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from baselines.metrics import Limits
from reports.intervals import summarise
from reports.panels import legend, row_of_panels
from reports.scales import plain_ticks
from reports.style import Style, figure_style

SPREAD = 0.32
"""How far from the middle of its row the first and the last of many series are drawn."""

ROW, MARK = 0.17, 0.065
"""The least height of a row, and of a mark in it, in inches."""


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
    size: float = 3.4


def draw_dots(
    frame: pd.DataFrame,
    rows: Sequence[Style],
    marks: Mapping[str, Mark],
    label: str,
    reference: float,
    limits: Limits,
    scale: str = "linear",
) -> Figure:
    """Means over seeds and their 95 % t-intervals, as high as rows and marks ask for.

    Args:
        frame: Columns `workload`, `seed`, `row` (a label of `rows`), `series` (a key of `marks`) and `value`.
        rows: The rows, from the top.
        marks: The series, from the top of a row.
        label: What the x axis says.
        reference: Where a vertical line stands: the value of what the others are held against.
        limits: The least and the greatest that a value can be.
        scale: `linear` or `log`.
    """
    panels = list(dict.fromkeys(frame["workload"]))
    spread = min(SPREAD, SPREAD / 2 * (len(marks) - 1))
    shifts = np.linspace(spread, -spread, len(marks))
    heights = {row.label: len(rows) - 1 - i for i, row in enumerate(rows)}
    colours = {row.label: row.colour for row in rows}
    with figure_style():
        figure, axes = row_of_panels(len(panels), 0.4 + len(rows) * max(ROW, MARK * len(marks)))
        for axis, panel in zip(axes, panels, strict=True):
            means = summarise(frame[frame["workload"] == panel], ["row", "series"], ["value"], limits)
            for shift, (series, mark) in zip(shifts, marks.items(), strict=True):
                style = Style("", "", mark.marker, "", mark.filled).mark(mark.size)
                for point in means[(means["series"] == series) & means["value"].notna()].itertuples():
                    y, colour = heights[point.row] + shift, mark.colour or colours[point.row]
                    axis.plot([point.value_low, point.value_high], [y, y], color=colour, linewidth=0.9)
                    axis.plot(point.value, y, color=colour, **style)
                axis.plot([], [], linestyle="", color=mark.colour or "0.3", label=mark.label, **style)
            axis.axvline(reference, color="black", linewidth=0.8, zorder=1)
            for row in heights.values():
                if row % 2:
                    axis.axhspan(row - 0.5, row + 0.5, color="0.95", linewidth=0, zorder=0)
            axis.set_yticks(list(heights.values()), list(heights))
            axis.tick_params(axis="y", length=0)
            axis.set(title=panel, xlabel=label, xscale=scale, ylim=(-0.5, len(rows) - 0.5))
            if scale == "log":
                plain_ticks(axis.xaxis)
        legend(figure, axes[:1])
    return figure
