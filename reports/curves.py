"""Curves of a metric over something that was varied: a column a workload, a row a metric, a line a method."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from baselines.comparison import METRICS
from baselines.validation import GROUND_TRUTH
from reports.intervals import brackets, summarise, triple
from reports.labels import labels, with_how
from reports.style import PAGE_INCHES, Style, figure_style, styles
from reports.trained import trained
from samattr_ref.registry import METHODS, Family


def axis_labels(*names: str) -> dict[str, str]:
    """What an axis is called that shows a metric, by the metric's name."""
    return {name: METRICS[name].axis_label for name in names}


ROWS = axis_labels("spearman", "noise_auc")
"""The rows of most figures and what their axes say."""

BAND = "bands are 95 % t-intervals over seeds"


def draw_curves(
    frame: pd.DataFrame,
    x: str,
    label: str,
    metrics: Mapping[str, str] = ROWS,
    scale: str = "linear",
    per: str = "workload",
) -> Figure:
    """A panel a value of `per` and metric; lines are means over seeds, bands their 95 % t-intervals.

    Args:
        frame: Columns `method`, `how` where there are several ways, `seed`, x, `per` and the metrics. The method `loo`
            is drawn as the reference.
        x: The column that was varied.
        label: What the x axis says.
        metrics: Columns to draw and what their y axes say.
        scale: `linear`, `log`, or `symlog` for a logarithmic axis that has a zero.
        per: The column that panels are made of.
    """
    panels = list(dict.fromkeys(frame[per]))
    groups = parted(frame)
    rows = [(*row, *group) for row in metrics.items() for group in groups.items()]
    with figure_style():
        figure, axes = plt.subplots(
            len(rows),
            len(panels),
            figsize=(PAGE_INCHES, 0.5 + (1.75 if len(groups) == 1 else 1.45) * len(rows)),
            sharex="col",
            sharey="row",
            squeeze=False,
            layout="constrained",
        )
        for column, panel in enumerate(panels):
            axes[0, column].set_title(panel)
            for row, (metric, heading, named, group) in enumerate(rows):
                axis = axes[row, column]
                for shown, of in styles(group[group[per] == panel]):
                    _curve(axis, of, x, metric, shown)
                if column == 0:
                    axis.set_ylabel(f"{heading}\n{named}" if named else heading)
            set_scale(axes[-1, column], scale, frame.loc[frame[per] == panel, x])
            axes[-1, column].set_xlabel(label)
        for row in axes:
            _limit(row)
        legend(figure, axes.flat)
    return figure


MOST_LINES = 6
"""More than these in one panel cannot be told apart."""

FIXED_POINTS = (Family.IMPLICIT, Family.DERIVATIVE)


def parted(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows that go into panels of their own, by what their axes say beside the metric.

    Few methods share a panel, or those of one kind. Many are parted into those that solve for a fixed point or
    differentiate the run, and all others; what is no method, such as exact effects, is in both.
    """
    if len(with_how(frame)[["method", "how"]].drop_duplicates()) <= MOST_LINES:
        return {"": frame}
    of = {name: METHODS[name].family if name in METHODS else None for name in frame["method"].unique()}
    kinds = [family in FIXED_POINTS for family in of.values() if family]
    if min(kinds.count(True), kinds.count(False)) < 2:
        return {"": frame}
    solved = frame["method"].map(lambda name: of[name] is None or of[name] in FIXED_POINTS)
    others = frame["method"].map(lambda name: of[name] is None or of[name] not in FIXED_POINTS)
    return {"(implicit, exact derivative)": frame[solved], "(all others)": frame[others]}


def _limit(row: Sequence[Axes]) -> None:
    """End a row's y axis a little outside its curves, however far their bands go: few seeds make wide ones."""
    lines = [np.asarray(line.get_ydata(), dtype=float) for axis in row for line in axis.lines]
    values = np.concatenate(lines) if lines else np.zeros(0)
    values = values[np.isfinite(values)]
    if len(values) and np.ptp(values) > 0:
        margin = 0.15 * np.ptp(values)
        row[0].set_ylim(values.min() - margin, values.max() + margin / 3)


Place = Literal["outside right center", "outside lower center"]


def legend(figure: Figure, axes: Iterable[Axes], place: Place = "outside right center", columns: int = 1) -> None:
    """One legend for the whole figure, of all that the axes show."""
    shown: dict[str, Artist] = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        shown |= {label: handle for label, handle in zip(labels, handles, strict=True) if label not in shown}
    figure.legend(list(shown.values()), list(shown), loc=place, ncols=columns, frameon=False)


def set_scale(axis: Axes, scale: str, values: pd.Series) -> None:
    """Scale the x axis; a symmetric logarithm turns linear below the smallest positive value."""
    if scale == "symlog":
        positive = values[values > 0]
        axis.set_xscale("symlog", linthresh=float(positive.min()), linscale=0.5)
        axis.set_xlim(left=0)
        axis.set_xticks([0, *(10.0**k for k in range(-9, 9) if positive.min() <= 10.0**k <= 1.05 * positive.max())])
    else:
        axis.set_xscale(scale)
    if scale == "log" and values.max() / values.min() < 100:
        plain_ticks(axis.xaxis)


def plain_ticks(axis: Axis) -> None:
    """Label a logarithmic axis of few decades with plain numbers: 0.5, 1, 2, 5."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _curve(axis: Axes, part: pd.DataFrame, x: str, metric: str, shown: Style) -> None:
    curve = summarise(part, [x], [metric]).sort_values(x)
    if not np.isfinite(curve[metric]).any():
        return
    if len(curve) == 1 and not shown.marker:
        shown = replace(shown, marker="o")  # of a line nothing would be seen
    draw_line(
        axis,
        curve.astype({x: float}),
        x,
        metric,
        shown,
        linewidth=1.4 if part["method"].iloc[0] == GROUND_TRUTH else 1.0,
        markevery=max(1, len(curve) // 6) if len(curve) > 20 else 1,
    )


def draw_line(
    axis: Axes,
    means: pd.DataFrame,
    x: str,
    value: str,
    shown: Style,
    least: pd.Series | None = None,
    **style: Any,
) -> None:
    """A line of means over x with its intervals as a band.

    Args:
        axis: The panel.
        means: From `reports.intervals.summarise`, in the order of x.
        x: Its column that the line goes over.
        value: Its value that is drawn.
        shown: Label, colour, line and marker.
        least: What the band ends at below, where the axis has no room for less.
        **style: Other settings of the line.
    """
    _, low, high = triple(value)
    axis.fill_between(means[x], means[low].clip(lower=least), means[high], color=shown.colour, alpha=0.12, lw=0)
    look = {"color": shown.colour, "linestyle": shown.line, "marker": shown.marker, "label": shown.label}
    axis.plot(means[x], means[value], **{**look, "markersize": 3, "linewidth": 1.0, **style})


def tabulate_curves(frame: pd.DataFrame, x: str, heading: str, metric: str = "spearman") -> pd.DataFrame:
    """Means over seeds with 95 % t-intervals: a row a workload and method, a column a value of x."""
    table = summarise(with_how(frame), ["workload", "method", "how", x], [metric])
    table = table.assign(**brackets(table, {metric: "cell"}))
    table["Method"] = labels(table)
    wide = table.pivot(index=["workload", "Method"], columns=x, values="cell")
    order = dict.fromkeys(zip(table["workload"], table["Method"], strict=True))
    wide = wide.loc[list(order)].fillna("–")
    wide.columns = [f"{heading} {value:g}" if isinstance(value, int | float) else str(value) for value in wide.columns]
    return wide.reset_index().rename(columns={"workload": "Workload"})


def describe(frame: pd.DataFrame) -> str:
    """How many training points and seeds a frame is over, and what training made of its networks."""
    sizes = frame.groupby("workload", sort=False)["n_train"].unique()
    networks = trained(frame)
    points = "; ".join(
        ", ".join([f"{name}: n = {'/'.join(map(str, sorted(n)))}", *filter(None, [networks.get(name)])])
        for name, n in sizes.items()
    )
    seeds = frame["seed"].nunique()
    return f"{points}; {seeds} seed{'s' if seeds > 1 else ''}"
