"""Means over seeds with their 95 % t-intervals: how frames hold them and how tables write them."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from baselines.metrics import mean_interval


def summarise(frame: pd.DataFrame, by: Sequence[str], values: Sequence[str]) -> pd.DataFrame:
    """Mean over seeds and 95 % t-interval of each value: its columns of `triple`, and `seeds`.

    Args:
        frame: Columns `seed`, `by` and the values; several rows of a seed count as their mean.
        by: What the rows of the answer are told apart by.
        values: The columns to take means of.
    """
    rows = []
    for key, part in frame.groupby(list(by), sort=False, dropna=False):
        row = dict(zip(by, key, strict=True))
        row["seeds"] = part["seed"].nunique()
        for value in values:
            numbers = pd.to_numeric(part[value]).groupby(part["seed"]).mean()
            row |= dict(zip(triple(value), mean_interval(numbers.to_numpy()), strict=True))
        rows.append(row)
    return pd.DataFrame(rows)


def triple(value: str) -> list[str]:
    """The columns of a value's mean and of the two ends of its interval.

    >>> triple("slope")
    ['slope', 'slope_low', 'slope_high']
    """
    return [value, f"{value}_low", f"{value}_high"]


def bracket(numbers: Iterable[float], digits: int = 3) -> str:
    """A number with its interval in brackets; a dash where there is none.

    Args:
        numbers: The number and the two ends of its interval, as from `baselines.metrics.mean_interval`.
        digits: Digits after the point.

    >>> bracket((0.5, 0.4, 0.6), digits=2)
    '0.50 [0.40, 0.60]'
    """
    value, low, high = numbers
    if not np.isfinite(value):
        return "–"
    if not (np.isfinite(low) and np.isfinite(high)):
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def brackets(means: pd.DataFrame, headings: Mapping[str, str], digits: int = 3) -> dict[str, list[str]]:
    """Columns of a table, by heading: `bracket` of each row of some values.

    Args:
        means: From `summarise`.
        headings: By value, the heading of its column.
        digits: Digits after the point.
    """
    return {
        heading: [bracket(row, digits) for row in means[triple(value)].to_numpy()]
        for value, heading in headings.items()
    }
