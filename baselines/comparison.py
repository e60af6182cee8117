"""One table of metrics: what is said of a method's predictions beside exact retraining, and how it is shown.

Each metric is a function of a `Comparison`. What results store, tables and captions show and benchmarks track follows
from its registration, by the decorator `metric` or by an entry point of another package.
"""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from baselines import metrics
from baselines.kept import N_CHANGES
from baselines.metrics import NO_LIMITS, Limits
from samattr_ref.support.errors import SamattrError, unknown_name
from samattr_ref.support.foreign import foreign
from samattr_ref.support.registered import Registry, default_label, home_of

CORRELATION, SHARE, SIZE = (-1.0, 1.0), (0.0, 1.0), (0.0, math.inf)
"""Limits of correlations, of shares, and of what is not negative."""

Array = np.ndarray
Found = Array | float | None

INSPECTED = 0.4
"""The share of the training points after which found wrong labels are counted: the paper's."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a method predicted beside what exact retraining says, in float64.

    Attributes:
        predicted: Scores of the removed points, [n_removed, n_query].
        true: Their exact effects ℓ_q(ω_{−i}) − ℓ_q(ω*), [n_removed, n_query].
        influence: Influence Scores of the points that have one, [n_scored].
        noisy: Which of these have wrong labels, [n_scored].
        changes: Predicted parameter changes of the first removed points, [n, P]; None where none are predicted.
        true_changes: The exact ones, [n, P].
    """

    predicted: Array
    true: Array
    influence: Array | None = None
    noisy: Array | None = None
    changes: Array | None = None
    true_changes: Array | None = None

    @cached_property
    def mean(self) -> Array:
        """What is predicted of the mean query, [n_removed, 1]."""
        mean: Array = self.predicted.mean(1, keepdims=True)
        return mean

    @cached_property
    def true_mean(self) -> Array:
        """The exact effect on the mean query, [n_removed, 1]."""
        mean: Array = self.true.mean(1, keepdims=True)
        return mean


BEST = ("highest", "lowest", "one")
"""What the best value of a metric can be."""

NEEDS = ("scores", "changes", "influence", "cost")
"""What a metric can be taken of."""

WITHIN = ("validation", "agreement", "fidelity")
"""Results that have metrics: full validations, cells of experiments, and cells with subset retraining."""


def rounded(value: float) -> str:
    """A number as tables show it: three decimals, fewer for large ones.

    >>> rounded(0.1234), rounded(12.345), rounded(123.45), rounded(-0.0001)
    ('0.123', '12.3', '123', '0.000')
    """
    text = f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"
    return "0.000" if text == "-0.000" else text


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: Its name in frames.
        function: A `Comparison` to a number, to one a query [n_query], or to None where it says nothing. None for what
            is measured beside the comparison, a field of a validation of that name.
        interval: A `Comparison` to the 95 % interval of a number; values a query are resampled.
        per_query: Whether it is one value a query: results then have the mean, with an interval over queries.
        needs: What it is taken of: `scores`; `changes` or `influence`, without which it is None; or `cost`.
        within: The results that have it.
        heading: What its column is called; None where the accuracy table does not show it.
        axis: What an axis is called that shows it, where that is not its heading.
        best: Which value is the best: `highest`, `lowest` or `one`.
        limits: The least and the greatest that it can be: intervals end there.
        caption: The sentence that says what the column is; metrics with the same one share it.
        shown: A value as the table shows it.
        of_truth: Whether it says something of exact effects, held against themselves.
        tracked: Whether benchmarks track it.
    """

    name: str
    function: Callable[[Comparison], Found] | None = None
    interval: Callable[[Comparison], list[float]] | None = None
    per_query: bool = False
    needs: str = "scores"
    within: tuple[str, ...] = WITHIN
    heading: str | None = None
    axis: str = ""
    best: str = "highest"
    limits: Limits = NO_LIMITS
    caption: str = ""
    shown: Callable[[float], str] = rounded
    of_truth: bool = False
    tracked: bool = True

    def __post_init__(self) -> None:
        for kind, known, given in (
            ("best value", BEST, [self.best]),
            ("need", NEEDS, [self.needs]),
            ("kind of results", WITHIN, self.within),
        ):
            for name in given:
                if name not in known:
                    raise unknown_name(f"{kind} of the metric {self.name},", name, known)

    @property
    def axis_label(self) -> str:
        """What an axis is called that shows it."""
        return self.axis or self.heading or default_label(self.name)

    @property
    def key(self) -> str:
        """Its name in a validation."""
        return f"{self.name}_per_query" if self.per_query else self.name

    def of(self, comparison: Comparison) -> Found:
        """What it finds.

        Raises:
            SamattrError: if its function fails.
        """
        there = {"changes": comparison.changes, "influence": comparison.influence}
        if self.function is None or there.get(self.needs, comparison) is None:
            return None
        with foreign(f"the metric {self.name} fails", self.function):
            return self.function(comparison)

    def mean_of(self, comparison: Comparison) -> float:
        """What it finds, the mean over queries; NaN where it says nothing."""
        found = self.of(comparison)
        return float("nan") if found is None else float(np.mean(found))

    def interval_of(self, comparison: Comparison, found: Found) -> list[float] | None:
        """The 95 % interval of what it found, or None."""
        if found is None:
            return None
        if self.per_query:
            return list(metrics.mean_interval(np.asarray(found), self.limits)[1:])
        return None if self.interval is None else self.interval(comparison)

    @property
    def loss_name(self) -> str:
        """What `loss` is called.

        >>> METRICS["spearman"].loss_name, METRICS["relative_error"].loss_name, METRICS["slope"].loss_name
        ('one_minus_spearman', 'relative_error', 'slope_off_one')
        """
        return {"highest": f"one_minus_{self.name}", "lowest": self.name, "one": f"{self.name}_off_one"}[self.best]

    def loss(self, value: float) -> float:
        """How far a value is from the best one: lower is better."""
        return {"highest": 1 - value, "lowest": value, "one": abs(1 - value)}[self.best]


def _admit(name: str, found: Any, home: str) -> None:
    if not (isinstance(found, Metric) or callable(found)):
        raise SamattrError("it is neither a Metric nor a function of a Comparison")
    given = found if isinstance(found, Metric) else Metric(name, found, heading=default_label(name))
    METRICS.add(given.name, given, home)


METRICS: Registry[Metric] = Registry("metric", "samattr.metrics", _admit)
"""The metrics by name, in the order of tables, those of installed packages among them."""

F = TypeVar("F", bound=Callable[[Comparison], Any])


def metric(name: str, **facts: Any) -> Callable[[F], F]:
    """Register a function of a `Comparison` as a metric.

    Args:
        name: Its name in frames and stored results.
        **facts: The other fields of `Metric`. Its heading is its name, with spaces and a capital, where none is given.

    Raises:
        SamattrError: for a `best`, a `needs` or a `within` that there is not.
    """
    caller = sys._getframe(1).f_globals["__name__"]

    def register(function: F) -> F:
        given = Metric(name, function, **{"heading": default_label(name), **facts})
        METRICS.add(name, given, home_of(function, caller))
        return function

    return register


def metrics_within(kind: str) -> list[Metric]:
    """The metrics that results of a kind, one of `WITHIN`, have."""
    return [each for each in METRICS.values() if kind in each.within and each.function is not None]


def table_metrics() -> list[Metric]:
    """The columns of the accuracy table: what compares, then what it costs."""
    shown = [each for each in METRICS.values() if each.heading is not None]
    return sorted(shown, key=lambda each: each.needs == "cost")


CORRELATIONS = (
    "Spearman and Pearson: means over queries of the correlation over removed points, with a 95 % t-interval over "
    "seeds on Fisher's z scale; of a single seed over its queries, given the points that were removed."
)
CHANGES = f"Δ: parameter change, over at most {N_CHANGES} removed points; of TracIn, its steps undone."
COSTS = (
    "Runtime and memory: scores of all training points and queries; for exact LOO, all retrainings and the most that "
    "one chunk of them took."
)


@metric(
    "spearman",
    per_query=True,
    heading="Spearman",
    axis="per-query Spearman\nwith exact LOO",
    limits=CORRELATION,
    caption=CORRELATIONS,
)
def _spearman(c: Comparison) -> Array:
    return metrics.spearman_per_query(c.predicted, c.true)


@metric("pearson", per_query=True, heading="Pearson", limits=CORRELATION, caption=CORRELATIONS)
def _pearson(c: Comparison) -> Array:
    return metrics.pearson_per_query(c.predicted, c.true)


@metric(
    "top_k_overlap",
    per_query=True,
    within=("validation",),
    heading=None,
    limits=SHARE,
    caption="Top-k overlap: of the tenth of the points that help a query most, and harm it most, the share found.",
    tracked=False,
)
def _top_k_overlap(c: Comparison) -> Array:
    return metrics.top_k_overlap(c.predicted, c.true)


@metric(
    "slope",
    interval=lambda c: metrics.pooled_slope_interval(c.predicted, c.true),
    heading="Slope",
    axis="slope: truth\nregressed on score",
    best="one",
    caption="Slope: truth regressed on score (1 is right in size).",
    tracked=False,
)
def _slope(c: Comparison) -> float:
    return metrics.slope(c.predicted, c.true)


def _relative_error_interval(c: Comparison) -> list[float]:
    assert c.changes is not None and c.true_changes is not None
    errors, sizes = ((c.changes - c.true_changes) ** 2).sum(1), (c.true_changes**2).sum(1)
    return metrics.row_interval(lambda rows: np.sqrt(errors[rows].sum(1) / sizes[rows].sum(1)), len(errors))


@metric(
    "relative_error",
    interval=_relative_error_interval,
    needs="changes",
    within=("validation",),
    heading="Rel. error of Δ",
    best="lowest",
    limits=SIZE,
    caption=CHANGES,
)
def _relative_error(c: Comparison) -> float:
    assert c.changes is not None and c.true_changes is not None
    return metrics.relative_error(c.changes, c.true_changes)


def _cosines(c: Comparison) -> Array:
    assert c.changes is not None and c.true_changes is not None
    return metrics.cosine(c.changes, c.true_changes)


@metric(
    "cosine",
    interval=lambda c: list(metrics.mean_interval(_cosines(c), CORRELATION)[1:]),
    needs="changes",
    within=("validation",),
    heading="Cosine of Δ",
    limits=CORRELATION,
    caption=CHANGES,
    tracked=False,
)
def _cosine(c: Comparison) -> float:
    return float(_cosines(c).mean())


def _over_points(statistic: Callable[[Array, Array], Array]) -> Callable[[Comparison], list[float]]:
    """The interval over removed points of a statistic of the mean query's effects: one value a column."""
    return lambda c: metrics.row_interval(
        lambda rows: statistic(c.mean[:, 0][rows].T, c.true_mean[:, 0][rows].T), len(c.mean)
    )


@metric(
    "spearman_mean_query",
    interval=_over_points(metrics.spearman_per_query),
    within=("validation", "agreement"),
    heading="Spearman, mean query",
    limits=CORRELATION,
    tracked=False,
)
def _spearman_mean_query(c: Comparison) -> float:
    return float(metrics.spearman_per_query(c.mean, c.true_mean)[0])


@metric(
    "pearson_mean_query",
    interval=_over_points(metrics.pearson_per_query),
    within=("validation",),
    heading=None,
    limits=CORRELATION,
    tracked=False,
)
def _pearson_mean_query(c: Comparison) -> float:
    return float(metrics.pearson_per_query(c.mean, c.true_mean)[0])


@metric(
    "slope_mean_query",
    interval=_over_points(metrics.slope_per_query),
    within=("validation",),
    heading=None,
    best="one",
    tracked=False,
)
def _slope_mean_query(c: Comparison) -> float:
    return metrics.slope(c.mean, c.true_mean)


def _noise(statistic: Callable[[Array, Array], Any]) -> Callable[[Comparison], Any]:
    """A statistic of Influence Scores and wrong labels; None where no label or every label is wrong."""

    def of(c: Comparison) -> Any:
        assert c.influence is not None and c.noisy is not None
        return statistic(c.influence, c.noisy) if 0 < c.noisy.sum() < len(c.noisy) else None

    return of


metric(
    "noise_auc",
    interval=_noise(metrics.noise_auc_interval),
    needs="influence",
    within=("validation", "agreement"),
    heading="Noise AUC",
    axis="AUC of finding\nwrong labels",
    limits=SHARE,
    caption="Noise AUC: wrong labels found by lowest Influence Score on the validation set.",
    of_truth=True,
    tracked=False,
)(_noise(metrics.noise_auc))

metric(
    "noise_ap",
    interval=_noise(metrics.noise_ap_interval),
    needs="influence",
    within=("validation",),
    heading=None,
    limits=SHARE,
    caption="Noise AP: average precision of the same search; a random order has the share of wrong labels.",
    of_truth=True,
    tracked=False,
)(_noise(metrics.noise_ap))


@metric("noise_found", needs="influence", within=("agreement",), heading=None, limits=SHARE, tracked=False)
def _noise_found(c: Comparison) -> float:
    assert c.influence is not None and c.noisy is not None
    return metrics.found_share(c.influence, c.noisy, INSPECTED)


for _cost in (
    Metric(
        "runtime_s",
        needs="cost",
        within=(),
        heading="Runtime (s)",
        best="lowest",
        limits=SIZE,
        caption=COSTS,
        tracked=False,
    ),
    Metric(
        "peak_memory_bytes",
        needs="cost",
        within=(),
        heading="Peak memory (MiB)",
        best="lowest",
        limits=SIZE,
        caption=COSTS,
        shown=lambda value: rounded(value / 2**20),
        tracked=False,
    ),
):
    METRICS.add(_cost.name, _cost, __name__)
