"""How well scores agree with exact retraining: ranks, sizes, parameter changes, wrong labels found; with intervals.

Arrays are [n_removed, n_query], predicted beside true effects ℓ_q(ω_{−i}) − ℓ_q(ω*), unless said otherwise.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import scipy.stats
from sklearn.metrics import average_precision_score, roc_auc_score

Array = np.ndarray

Limits = tuple[float, float]
"""The least and the greatest that a value can be."""

Interval = tuple[float, float, float]
"""A mean and the two ends of its 95 % interval."""

NO_LIMITS = (-math.inf, math.inf)

ALMOST_ONE = 1 - 1e-12
"""Where Fisher's z, which is infinite at 1, is taken in its place."""

RESAMPLES = 2000
"""Bootstrap resamples behind the 95 % interval of a slope."""

ROW_RESAMPLES = 500
"""Bootstrap resamples behind a 95 % interval over removed points, whose statistics are slower."""

RESAMPLED_TOGETHER = 2**20
"""So many resampled points are looked at together: some tens of MiB."""


def pearson_per_query(scores: Array, truth: Array) -> Array:
    """Pearson correlation over the removed points, one a query, [n_query]; 0 where either side is constant."""
    s, t = _centred(scores), _centred(truth)
    norm = np.sqrt((s**2).sum(0) * (t**2).sum(0))
    found: Array = np.divide((s * t).sum(0), norm, out=np.zeros(s.shape[1]), where=norm > 0)
    return found


def spearman_per_query(scores: Array, truth: Array) -> Array:
    """Spearman rank correlation over the removed points, ties averaged, one a query, [n_query]."""
    return pearson_per_query(scipy.stats.rankdata(scores, axis=0), scipy.stats.rankdata(truth, axis=0))


def slope(scores: Array, truth: Array) -> float:
    """Truth regressed on score, one slope for all queries, an intercept for each: 1 is right in size.

    Σ_q cov(s_q, t_q) / Σ_q var(s_q); NaN for constant scores.
    """
    s, t = _centred(scores), _centred(truth)
    size = (s**2).sum()
    return float((s * t).sum() / size) if size > 0 else float("nan")


def slope_per_query(scores: Array, truth: Array) -> Array:
    """Truth regressed on score, one slope a query, [n_query]; NaN where scores are constant."""
    s, t = _centred(scores), _centred(truth)
    size = (s**2).sum(0)
    found: Array = np.divide((s * t).sum(0), size, out=np.full(s.shape[1], np.nan), where=size > 0)
    return found


def cosine(predicted: Array, true: Array) -> Array:
    """Cosine of the predicted with the true parameter change, one a removal, [n_removed], from [n_removed, P]."""
    norm = np.linalg.norm(predicted, axis=1) * np.linalg.norm(true, axis=1)
    found: Array = np.divide((predicted * true).sum(1), norm, out=np.zeros(len(true)), where=norm > 0)
    return found


def relative_error(predicted: Array, true: Array) -> float:
    """‖Δ̂ − Δ‖_F / ‖Δ‖_F over all removals together, from [n_removed, P]; 1 is no better than predicting no change."""
    return float(np.linalg.norm(predicted - true) / np.linalg.norm(true))


def linear_datamodelling_score(scores: Array, groups: list[Array], truth: Array) -> Array:
    """LDS: Spearman over subsets of the summed scores of the removed points with the true effect (Ilyas et al. 2022).

    Args:
        scores: s[i, q], [n_train, n_query].
        groups: The points that each retraining left out.
        truth: True effects of leaving them out, [n_groups, n_query].

    Returns:
        One correlation a query, [n_query].
    """
    return spearman_per_query(np.stack([scores[group].sum(0) for group in groups]), truth)


def noise_auc(influence: Array, noisy: Array) -> float:
    """Area under the ROC curve of finding wrong labels by lowest Influence Score first, from [n_train] and a mask.

    Ties count half, and infinite scores have their rank; NaN where no label or every label is wrong, or a score is NaN.
    """
    ranks = scipy.stats.rankdata(-influence)
    if noisy.all() or not noisy.any() or np.isnan(ranks).any():
        return float("nan")
    return float(roc_auc_score(noisy, ranks))


def noise_auc_interval(influence: Array, noisy: Array) -> list[float]:
    """Bootstrap 95 % interval of `noise_auc` over points.

    The area is U of Mann & Whitney (1947) over the number of pairs, counted by level for all resamples at once.
    """
    if np.isnan(influence).any():
        return [float("nan")] * 2
    levels, level = np.unique(influence, return_inverse=True)

    def counts(rows: Array, chosen: Array) -> Array:
        """How often each level is among the chosen of the rows, [k, levels]."""
        cell = level[rows] + len(levels) * np.arange(len(rows))[:, None]
        return np.bincount(cell[chosen], minlength=len(rows) * len(levels)).reshape(len(rows), -1)

    def areas(rows: Array) -> Array:
        wrong, right = counts(rows, noisy[rows]), counts(rows, ~noisy[rows])
        found = (right * (wrong.cumsum(1) - wrong / 2)).sum(1)
        pairs = wrong.sum(1) * right.sum(1)
        area: Array = np.divide(found, pairs, out=np.full(len(rows), np.nan), where=pairs > 0)
        return area

    return row_interval(areas, len(influence))


def noise_ap(influence: Array, noisy: Array) -> float:
    """Average precision of finding wrong labels by lowest Influence Score first, from [n_train] and a mask.

    Σ_k (R_k − R_{k−1}) P_k over levels of the score, P the share of wrong labels among the points inspected so far and
    R that of all wrong labels that are among them. A random order has the share of wrong labels. NaN as `noise_auc`.
    """
    ranks = scipy.stats.rankdata(-influence)
    if noisy.all() or not noisy.any() or np.isnan(ranks).any():
        return float("nan")
    return float(average_precision_score(noisy, ranks))


def noise_ap_interval(influence: Array, noisy: Array) -> list[float]:
    """Bootstrap 95 % interval of `noise_ap` over points, for all resamples at once."""
    if np.isnan(influence).any():
        return [float("nan")] * 2
    levels, level = np.unique(influence, return_inverse=True)

    def precisions(rows: Array) -> Array:
        cell = (level[rows] + len(levels) * np.arange(len(rows))[:, None]).ravel()
        counts = [np.bincount(cell, weights, len(rows) * len(levels)) for weights in (None, noisy[rows].ravel())]
        inspected, wrong = (count.reshape(len(rows), -1) for count in counts)
        found, seen = wrong.cumsum(1), inspected.cumsum(1)
        precision = np.divide(found, seen, out=np.zeros(found.shape), where=seen > 0)
        total = found[:, -1]
        whole: Array = np.divide((wrong * precision).sum(1), total, out=np.full(len(rows), np.nan), where=total > 0)
        return whole

    return row_interval(precisions, len(influence))


def top_k_overlap(scores: Array, truth: Array, share: float = 0.1) -> Array:
    """Which part of the points that matter most to a query the scores name, one a query, [n_query].

    Of the `share` of the removed points with the largest exact effects, the share that is among as many points with the
    largest scores; the same for the smallest; and the mean of both: k-overlaps of both ends of the ranking, as the
    top-k intersection of Ghorbani, Abid & Zou (2019). Chance is `share` itself. Ties count by their expected share.
    """
    k = max(1, round(share * len(truth)))
    ends = [_among_largest(sign * scores, k) * _among_largest(sign * truth, k) for sign in (1, -1)]
    overlap: Array = np.mean([end.sum(0) for end in ends], axis=0) / k
    return overlap


def _among_largest(values: Array, k: int) -> Array:
    """1 for the k largest values of a column and 0 for others; what ties with the k-th shares what is left."""
    least = -np.sort(-values, axis=0)[k - 1]
    above, tied = values > least, values == least
    members: Array = above + tied * ((k - above.sum(0)) / tied.sum(0))
    return members


def noise_curve(influence: Array, noisy: Array) -> pd.DataFrame:
    """Share of the wrong labels found after inspecting a share of the points, lowest Influence Score first.

    Returns:
        Columns `inspected` and `found`, in [0, 1], from (0, 0) to (1, 1).
    """
    found = np.concatenate([[0], np.cumsum(noisy[np.argsort(influence, kind="stable")])]) / noisy.sum()
    return pd.DataFrame({"inspected": np.linspace(0, 1, len(found)), "found": found})


def found_share(influence: Array, noisy: Array, inspected: float) -> float:
    """Share of the wrong labels among the given share of the points, lowest Influence Score first; NaN without any."""
    if not noisy.any():
        return float("nan")
    lowest = np.argsort(influence, kind="stable")[: round(inspected * len(influence))]
    return float(noisy[lowest].sum() / noisy.sum())


def mean_interval(values: Array, limits: Limits = NO_LIMITS) -> Interval:
    """Mean of independent values and its 95 % interval, unknown (NaN) from a single one.

    Student's t-interval (1908), cut at the limits. Of correlations and their differences, whose limits are −c and c, it
    is taken on Fisher's z scale (1921) by the delta method, so that it ends within them: with m and s the mean and the
    standard deviation of the values over c, c tanh(atanh m ± t s / (√n (1 − m²))). How often it holds the true mean:
    `tests/baselines/test_coverage.py`.

    Args:
        values: One value a seed, or one a query of a single run: then it is given the points that were removed. NaN,
            of seeds that failed, are left out.
        limits: The least and the greatest that a value can be.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    mean = float(values.mean()) if len(values) else float("nan")
    if len(values) < 2:
        return mean, float("nan"), float("nan")
    if np.ptp(values) == 0:
        return mean, mean, mean
    reach = float(scipy.stats.t.ppf(0.975, len(values) - 1) * scipy.stats.sem(values))
    least, greatest = limits
    if np.isinf(greatest) or least != -greatest:
        return mean, max(mean - reach, least), min(mean + reach, greatest)
    m = float(np.clip(mean / greatest, -ALMOST_ONE, ALMOST_ONE))
    z, width = np.arctanh(m), reach / greatest / (1 - m**2)
    return mean, float(greatest * np.tanh(z - width)), float(greatest * np.tanh(z + width))


def interval_over_runs(values: Sequence[Array], limits: Limits = NO_LIMITS) -> Interval:
    """Mean over runs of their means over queries, with its 95 % interval: over several runs', or over one's queries.

    Args:
        values: One array of per-query values a run; runs of different seeds have different points and queries.
        limits: The least and the greatest that a value can be.
    """
    return mean_interval(values[0] if len(values) == 1 else np.array([np.mean(run) for run in values]), limits)


def paired_interval(first: Sequence[Array], second: Sequence[Array], limits: Limits = NO_LIMITS) -> Interval:
    """Mean difference of two methods on the same runs and queries, first minus second, with its 95 % interval.

    Args:
        first: One array of per-query values a run.
        second: The same of the other method: the same runs, and in each the same queries.
        limits: The least and the greatest that a value of either can be.
    """
    widest = limits[1] - limits[0]
    differences = [np.asarray(one) - np.asarray(other) for one, other in zip(first, second, strict=True)]
    return interval_over_runs(differences, (-widest, widest))


def pooled_slope_interval(scores: Array, truth: Array, seed: int = 0) -> list[float]:
    """Bootstrap 95 % interval of `slope` over queries."""
    s, t = _centred(scores), _centred(truth)
    products, sizes = (s * t).sum(0), (s**2).sum(0)
    if not (sizes > 0).any():
        return [float("nan")] * 2
    chosen = np.random.default_rng(seed).integers(len(sizes), size=(RESAMPLES, len(sizes)))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = products[chosen].sum(1) / sizes[chosen].sum(1)
    return [float(bound) for bound in np.nanpercentile(ratios, [2.5, 97.5])]


def row_interval(statistic: Callable[[Array], Array], n_rows: int, seed: int = 0) -> list[float]:
    """Bootstrap 95 % interval over removed points, of a statistic that takes indices [k, n_rows] to values [k]."""
    rng = np.random.default_rng(seed)
    together = max(1, RESAMPLED_TOGETHER // n_rows)
    sizes = [min(together, ROW_RESAMPLES - done) for done in range(0, ROW_RESAMPLES, together)]
    values = np.concatenate([statistic(rng.integers(n_rows, size=(size, n_rows))) for size in sizes])
    if not np.isfinite(values).any():
        return [float("nan")] * 2
    return [float(bound) for bound in np.nanpercentile(values, [2.5, 97.5])]


def _centred(values: Array) -> Array:
    values = np.asarray(values, dtype=np.float64)
    centred: Array = values - values.mean(0)
    return centred
