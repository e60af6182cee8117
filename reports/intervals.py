"""Means over seeds with their 95 % t-intervals: how frames hold them and how tables write them.

An interval ends where its value does: a share of points is never above 1, a time never below 0.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from baselines.comparison import CORRELATION, METRICS, SHARE, SIZE
from baselines.metrics import NO_LIMITS, Limits, mean_interval
from reports import load

DIFFERENCE = (-1.0, 1.0)
"""Limits of the difference of two shares."""

TIMES = (
    *("seconds", "milliseconds", "all_seconds", "minutes", "trainings", "mean_trainings", "mean", "many"),
    *("times_plain", "least", "greatest", "gflops"),
)
"""The columns that are times, or made of times: marked where these were disturbed, see `reports.load`."""

LIMITS: dict[str, Limits] = {
    **dict.fromkeys(("lds", "correlation", "loo_before", "loo_after", "rank_agreement"), CORRELATION),
    **dict.fromkeys(("accuracy", "accuracy_given", "accuracy_clean", "found", "auc", "at_count", "precision"), SHARE),
    **dict.fromkeys(("recall", "wrong", "hard", "rare", "none", "flips"), SHARE),
    **dict.fromkeys(("difference", "retrained_drop", "edited_drop", "test_drop", "gain", "own", "other"), DIFFERENCE),
    **dict.fromkeys(("gain_before", "gain_after"), DIFFERENCE),
    **dict.fromkeys((*TIMES, "gib", "memory_bytes"), SIZE),
    "percent": (0.0, 100.0),
    **dict.fromkeys(("ratio", "size", "error", "residual", "growth", "grad_norm", "rho_over_grad_norm"), SIZE),
    **dict.fromkeys(("change", "after", "omitted", "bound", "loss_given", "loss_clean", "loss_error"), SIZE),
}
"""The least and the greatest of values that are no metric, by column."""


ROUNDING = 1e-5
"""How far beyond its limits a value may be, as of float32: cut there, it counts as the limit."""


def limits_of(column: str) -> Limits:
    """The least and the greatest that the values of a column can be.

    >>> limits_of("spearman"), limits_of("lds_0.05"), limits_of("seconds"), limits_of("slope")
    ((-1.0, 1.0), (-1.0, 1.0), (0.0, inf), (-inf, inf))
    """
    if column in METRICS:
        return METRICS.named(column).limits
    return CORRELATION if column.startswith("lds_") else LIMITS.get(column, NO_LIMITS)


def summarise(
    frame: pd.DataFrame, by: Sequence[str], values: Sequence[str], limits: Limits | None = None
) -> pd.DataFrame:
    """Mean over seeds and 95 % t-interval of each value: its columns of `triple`, `seeds`, and `disturbed`.

    Args:
        frame: Columns `seed`, `by` and the values; several rows of a seed count as their mean.
        by: What the rows of the answer are told apart by.
        values: The columns to take means of.
        limits: The least and the greatest that they can be, where their names do not say it.
    """
    frame = frame.reset_index(drop=True)
    numbers = frame[[*by, "seed"]].assign(**{value: pd.to_numeric(frame[value]) for value in values})
    once = not numbers.duplicated([*by, "seed"]).any()
    rows = []
    disturbed = frame.get("disturbed")
    for key, part in numbers.groupby(list(by), sort=False, dropna=False):
        seeds = part["seed"].to_numpy()
        row = dict(zip(by, key, strict=True)) | {"seeds": len(np.unique(seeds))}
        row["disturbed"] = disturbed is not None and load.any_disturbed(disturbed[part.index])
        for value in values:
            each = part[value].iloc[np.argsort(seeds)] if once else part[value].groupby(seeds).mean()
            means = each.to_numpy(dtype=float)
            least, greatest = limits or limits_of(value)
            known = means[~np.isnan(means)]
            inside = (known >= least - ROUNDING) & (known <= greatest + ROUNDING)
            assert inside.all(), f"{value} is not within {least} and {greatest}: it is another quantity's name"
            means = means.clip(least, greatest)
            row |= dict(zip(triple(value), mean_interval(means, (least, greatest)), strict=True))
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
    """Columns of a table, by heading: `bracket` of each row of some values, times with their marks.

    Args:
        means: From `summarise`.
        headings: By value, the heading of its column.
        digits: Digits after the point.
    """
    flags = means.get("disturbed", [False] * len(means))
    return {
        heading: [
            load.starred(bracket(row, digits), value in TIMES and disturbed)
            for row, disturbed in zip(means[triple(value)].to_numpy(), flags, strict=True)
        ]
        for value, heading in headings.items()
    }
