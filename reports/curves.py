"""Curves of a metric over something that was varied: a column a workload, a row a metric, a line a method."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import offset_copy

from baselines.comparison import METRICS
from reports.intervals import brackets, limits_of, summarise, triple
from reports.labels import labels, with_how
from reports.panels import grid, legend, name_row, page_of
from reports.scales import FEW, narrowest, scale_x, scale_y
from reports.style import REFERENCES, Style, figure_style, styles
from reports.trained import trained
from samattr_ref.registry import METHODS, Family


def axis_labels(*names: str) -> dict[str, str]:
    """What an axis is called that shows a metric, by the metric's name."""
    return {name: METRICS[name].axis_label for name in names}


ROWS = axis_labels("spearman", "noise_auc")
"""The rows of most figures and what their axes say."""

BARS = "bars are 95 % t-intervals over seeds, side by side where they would cover each other"

MARKS = 6
"""How many marks and intervals a line has that goes over many values."""

ASIDE = 2.0
"""How far apart the marks of methods stand side by side, in points, where there is room."""

ALONE = 12.0
"""The same where a single value of x has the whole panel."""


def draw_curves(
    frame: pd.DataFrame,
    x: str,
    label: str,
    metrics: Mapping[str, str] = ROWS,
    scale: str = "linear",
    per: str = "workload",
    scales: Mapping[str, str] | None = None,
) -> Figure:
    """A column a value of `per`, a row a metric; lines are means over seeds, bars their 95 % t-intervals.

    Many methods are parted into two kinds (`parted`) with a row each: a column each, where `per` has a single value.

    Args:
        frame: Columns `method`, `how` where there are several ways, `seed`, x, `per` and the metrics. The method `loo`
            is drawn as the reference.
        x: The column that was varied.
        label: What the x axis says.
        metrics: Columns to draw and what their y axes say.
        scale: `linear`, `log`, or `symlog` for a logarithmic axis that has a zero.
        per: The column that panels are made of.
        scales: The scale of each metric that is not linear.
    """
    panels, groups = list(dict.fromkeys(frame[per])), parted(frame)
    aside = len(panels) == 1 < len(groups)
    columns = [(panels[0], kind) for kind in groups] if aside else [(panel, "") for panel in panels]
    rows = [(metric, "") for metric in metrics] if aside else [(metric, kind) for metric in metrics for kind in groups]
    with figure_style():
        figure, axes = grid(len(rows), len(columns), 1.45 if len(rows) > 1 else 1.75, sharex="col", sharey="row")
        for row, (metric, kind) in zip(axes, rows, strict=True):
            for axis, (panel, other) in zip(row, columns, strict=True):
                group = groups[kind or other]
                draw_methods(axis, group[group[per] == panel], x, metric, scale)
            scale_y(row, (scales or {}).get(metric, "linear"), limits_of(metric))
            row[0].set_ylabel(metrics[metric])
            if kind:
                name_row(row, kind)
        for axis, (panel, kind) in zip(axes[0], columns, strict=True):
            axis.set_title(f"{panel}: {kind}" if kind else panel)
        for axis in axes[-1]:
            axis.set_xlabel(label)
        legend(figure, axes.flat)
    return figure


MOST_LINES = 9
"""More than these in one panel cannot be told apart."""

FIXED_POINTS = (Family.IMPLICIT, Family.DERIVATIVE)


def parted(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows that go into panels of their own, by what these are called.

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
    return {"implicit and unrolled": frame[solved], "all others": frame[others]}


def draw_methods(
    axis: Axes, frame: pd.DataFrame, x: str, value: str, scale: str = "linear", span: Iterable[float] | None = None
) -> None:
    """A line a method in one panel, with marks and intervals that do not cover each other.

    Over few values of x those of different methods stand side by side; over many, each has them at other values.

    Args:
        axis: The panel.
        frame: Columns `method`, `how` where there are several ways, `seed`, x and the value.
        x: What the lines go over.
        value: What is drawn.
        scale: That of the x axis.
        span: What the x axis goes over, where others of its row have values of x that this one has not.
    """
    frame = with_how(frame)[["method", "how", "seed", x, value]]
    places = np.sort(frame[x].unique())
    scale_x(axis, scale, places if span is None else span)
    lines = [(shown, of) for shown, of in styles(frame) if np.isfinite(of[value].astype(float)).any()]
    methods = [shown for shown, of in lines if of["method"].iloc[0] not in REFERENCES]
    most = ASIDE if len(places) > 1 else ALONE
    apart = min(most, 0.8 * 72 * narrowest(axis, places) / max(1, len(methods)))
    step = -(-len(places) // MARKS)
    for shown, of in lines:
        number = methods.index(shown) if shown in methods else 0
        if len(places) > FEW:
            marked, moved = places[number * step // max(1, len(methods)) :: step], 0.0
        else:
            marked, moved = places, apart * (number - (len(methods) - 1) / 2) if shown in methods else 0.0
        draw_line(axis, of, x, value, shown, marked, moved, linewidth=1.0 if shown in methods else 1.4)


def draw_line(
    axis: Axes,
    frame: pd.DataFrame,
    x: str,
    value: str,
    shown: Style,
    marked: np.ndarray | None = None,
    moved: float = 0.0,
    **style: Any,
) -> None:
    """A line of means over seeds, with marks and their 95 % t-intervals; of a single value without a mark, all along.

    Args:
        axis: The panel.
        frame: Columns `seed`, x and the value.
        x: What the line goes over.
        value: What is drawn.
        shown: Label, colour, line and marker.
        marked: The values of x that have a mark and an interval; all of them by default.
        moved: How far to the right all of it is moved, in points.
        **style: Other settings of the line.
    """
    known = frame[["seed", x, value]].astype({value: float}).sort_values(x)
    known = known[np.isfinite(known[value])]
    if known.empty:
        return
    means = known.groupby(["seed", x])[value].mean().groupby(level=1).mean()
    bars = known if marked is None else known[known[x].isin(marked)]
    aside = offset_copy(axis.transData, page_of(axis), x=moved, units="points")
    there: dict[str, Any] = {"transform": aside, "color": shown.colour}
    if len(bars):
        ends = summarise(bars, [x], [value])
        axis.vlines(ends[x], *ends[triple(value)[1:]].to_numpy().T, linewidth=0.8, alpha=0.7, **there)
    every = np.flatnonzero(means.index.isin(bars[x])).tolist()
    look = {"linestyle": shown.line, "label": shown.label, "linewidth": 1.0}
    if len(means) == 1 and not shown.marker:
        axis.axhline(means.iloc[0], color=shown.colour, **{**look, **style})
        return
    marks = {"markevery": every, **shown.mark(3.0)}
    axis.plot(means.index.to_numpy(dtype=float), means.to_numpy(), **{**there, **look, **marks, **style})


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
    networks, counts = trained(frame), frame.groupby("workload", sort=False)["seed"].nunique()
    alike = counts.nunique() == 1
    parts = []
    for name, sizes in frame.groupby("workload", sort=False)["n_train"].unique().items():
        n = f"{name}: n = {'/'.join(map(str, sorted(sizes)))}"
        parts.append(", ".join(filter(None, [n, networks.get(name), "" if alike else _seeds(counts[name])])))
    return "; ".join([*parts, *([_seeds(counts.iloc[0])] if alike else [])])


def _seeds(count: int) -> str:
    return f"{count} seed{'s' if count > 1 else ''}"
