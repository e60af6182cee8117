"""Axes: their scales, ticks at what was measured, and limits that curves fill."""

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from baselines.metrics import NO_LIMITS, Limits
from reports.panels import LETTER, columns_of, page_of

FEW = 12
"""Of at most so many values of x every one has a mark, and may have a tick."""

NARROW = 3.0
"""A logarithmic axis whose ends are less than this apart would have no ticks to speak of: it is linear."""

BESIDE, BETWEEN = 0.75, 0.1
"""What labels take of a figure's width, and what is left free between panels, in inches, more or less."""

MARGIN = 0.06
"""What an axis has beyond the values that it shows, as a share of what they take."""


def scale_x(axis: Axes, scale: str, values: Iterable[float]) -> None:
    """Scale the x axis to some values, with a tick at each of them that there is room for, and at a single one alone.

    Args:
        axis: The panel.
        scale: `linear`, `log`, or `symlog` for a logarithmic axis that has a zero.
        values: Where something is drawn.
    """
    found = np.unique(np.asarray(list(values), dtype=float))
    found = found[np.isfinite(found)]
    if scale == "symlog":
        axis.set_xscale("symlog", linthresh=found[found > 0].min(), linscale=0.5)
    elif scale == "log" and found[-1] < NARROW * found[0]:
        axis.set_xscale("linear")
    else:
        axis.set_xscale(scale)
    _limit(axis, found, "x")
    tried = len(found) <= FEW and all(_short(value) for value in found)
    if axis.get_xscale() == "linear" and not (tried and len(found) == 1):
        return
    if tried:
        ticks_at(axis, found)
    else:
        plain_ticks(axis.xaxis)


def scale_y(row: Sequence[Axes], scale: str, limits: Limits = NO_LIMITS) -> None:
    """Scale the y axis that a row of panels shares, and end it a little outside its lines.

    However far their intervals go: few seeds make wide ones.

    Args:
        row: Panels that share their y axis.
        scale: `linear`, `log` or `symlog`.
        limits: The least and the greatest that a value can be: no room is left beyond them.
    """
    lines = [np.asarray(line.get_ydata(), dtype=float) for axis in row for line in axis.lines]
    values = np.concatenate(lines) if lines else np.zeros(0)
    values = values[np.isfinite(values) & ((values > 0) | (scale != "log"))]
    if not len(values):
        return
    if scale == "log" and values.max() < NARROW * values.min():
        scale = "linear"
    row[0].set_yscale(scale, **({"linthresh": 1.0} if scale == "symlog" else {}))
    _limit(row[0], values, "y", limits)
    if scale == "log":
        plain_ticks(row[0].yaxis)
    elif scale == "symlog":
        row[0].yaxis.set_major_formatter("{x:g}")


def _limit(axis: Axes, values: np.ndarray, name: str, limits: Limits = NO_LIMITS) -> None:
    """The values, with a margin on either side: evenly as the scale has it, and hardly any beyond their limits."""
    along = axis.xaxis if name == "x" else axis.yaxis
    transform = along.get_transform()
    low, high = transform.transform([values.min(), values.max()])
    margin = (MARGIN if name == "x" else 2 * MARGIN) * ((high - low) or 1)
    low, high = low - margin, high + margin
    if axis.get_yscale() == "linear":
        thin = MARGIN / 2 * (high - low)
        low, high = max(low, limits[0] - thin), min(high, limits[1] + thin)
    along.axes.set(**{f"{name}lim": transform.inverted().transform([low, high])})


def ticks_at(axis: Axes, values: Sequence[float], labels: Sequence[str] | None = None) -> None:
    """Put a tick at each value of x, and a label where it runs neither into the one before nor into the last.

    Args:
        axis: The panel, its x axis scaled and with its limits.
        values: Where, in order.
        labels: What they are called; by default plain numbers.
    """
    named = labels or [f"{value:g}" for value in values]
    reach = [LETTER * (len(label) + 1) / 2 for label in named]
    places = _inches(axis, values)
    shown = {values[-1]: named[-1]}
    end = -np.inf
    for value, place, half, label in zip(values, places, reach, named, strict=True):
        if end <= place - half and place + half <= places[-1] - reach[-1]:
            shown[value], end = label, place + half
    axis.xaxis.set_major_locator(FixedLocator(list(shown)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: shown.get(value, "")))
    axis.xaxis.set_minor_locator(FixedLocator([value for value in values if value not in shown]))
    axis.xaxis.set_minor_formatter(NullFormatter())


def narrowest(axis: Axes, values: Sequence[float] | np.ndarray) -> float:
    """The least distance of two values of x on paper, in inches; a panel's width for a single one."""
    return float(np.diff(_inches(axis, values)).min(initial=_width(axis)))


def _inches(axis: Axes, values: Sequence[float] | np.ndarray) -> np.ndarray:
    """How far from the left end of a panel some values of x will be, more or less: layout comes later."""
    transform = axis.xaxis.get_transform()
    low, high = transform.transform(axis.get_xlim())
    places: np.ndarray = _width(axis) * (transform.transform(np.asarray(values, dtype=float)) - low) / (high - low)
    return places


def _width(axis: Axes) -> float:
    """How wide a panel will be, in inches, more or less."""
    return (page_of(axis).get_figwidth() - BESIDE) / columns_of(axis) - BETWEEN


def plain_ticks(axis: Axis) -> None:
    """Label a logarithmic axis with plain numbers: of few decades 0.5, 1, 2, 5, of many the decades alone."""
    low, high = sorted(axis.get_view_interval())
    if high > 1000 * low:
        axis.set_major_locator(LogLocator(numticks=8))
        axis.set_minor_locator(NullLocator())
        if low >= 1e-3 and high <= 1e4:
            axis.set_major_formatter("{x:g}")
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,), numticks=20))
        axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _short(value: float) -> bool:
    """Whether a number has two digits at most: those that were chosen have, those that were measured do not.

    >>> _short(0.05), _short(1200), _short(24.61)
    (True, True, False)
    """
    return float(f"{value:.1e}") == value
