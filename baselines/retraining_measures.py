"""The measures of a method that retrain, by name: what each is asked as, what it costs, and what it says.

Asked as `NAME` or, at other shares than its own, `NAME=SHARE,SHARE`, as in `lds=0.05,0.5`.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from baselines.comparison import CORRELATION, SHARE
from baselines.metrics import NO_LIMITS, Limits, mean_interval
from baselines.model_randomisation import model_randomisation
from baselines.removal_measures import RANDOM, SUBSETS, Values, brittleness, lds, qld, removal, size_of
from samattr_ref.data import Examples
from samattr_ref.run import Run
from samattr_ref.support import store
from samattr_ref.support.errors import SamattrError, unknown_name
from samattr_ref.training import train
from samattr_ref.workload import Workload

log = logging.getLogger("samattr")


@dataclass(frozen=True, eq=False)
class Subject:
    """What is measured.

    Attributes:
        run: The run.
        queries: What was scored.
        scores: Scores [n_train, n_query], large where a point helps.
        score: Scores another run for the same queries in the same way.
    """

    run: Run
    queries: Examples
    scores: Tensor
    score: Callable[[Run], Tensor]


@dataclass(frozen=True)
class Measure:
    """One measure.

    Attributes:
        name: Its name.
        function: A subject and shares to one value a query, by share.
        shares: The shares that it is taken at where none are given; none where it has none.
        retrainings: The most retrainings that a share takes, by the number of queries and those that scoring another
            run takes itself.
        best: Which value is the best: `highest` or `lowest`.
        limits: The least and the greatest that a value can be.
    """

    name: str
    function: Callable[[Subject, Sequence[float]], Values]
    shares: tuple[float, ...]
    retrainings: Callable[[int, int], int]
    best: str = "highest"
    limits: Limits = NO_LIMITS


def _of_scores(measured: Callable[..., Values]) -> Callable[[Subject, Sequence[float]], Values]:
    return lambda subject, shares: measured(subject.run, subject.scores, shares, subject.queries)


def _model_randomisation(subject: Subject, shares: Sequence[float]) -> Values:
    return {"random labels": model_randomisation(subject.run, subject.scores, subject.score)}


MEASURES = {
    known.name: known
    for known in (
        Measure("lds", _of_scores(lds), (0.05, 0.5), lambda queries, own: SUBSETS, limits=CORRELATION),
        Measure("qld", _of_scores(qld), (0.01,), lambda queries, own: queries + RANDOM),
        Measure(
            "brittleness",
            _of_scores(brittleness),
            (0.01, 0.02, 0.05, 0.1, 0.2),
            lambda queries, own: queries,
            limits=SHARE,
        ),
        *(
            Measure(
                f"{'addition' if only else 'removal'}_{'accuracy' if accuracy else 'loss'}",
                _of_scores(partial(removal, accuracy=accuracy, only=only)),
                (0.2, 0.5) if only else (0.05, 0.1, 0.2),
                lambda queries, own: 1 + RANDOM,
                "highest" if accuracy == only else "lowest",
                (-1.0, 1.0) if accuracy else NO_LIMITS,
            )
            for only in (False, True)
            for accuracy in (False, True)
        ),
        Measure("model_randomisation", _model_randomisation, (), lambda queries, own: 1 + own, "lowest", CORRELATION),
    )
}
"""The measures by name."""


@dataclass(frozen=True)
class Asked:
    """A measure at the shares that it is to be taken at.

    Attributes:
        measure: The measure.
        shares: The shares, ascending.
    """

    measure: Measure
    shares: tuple[float, ...]

    @property
    def key(self) -> str:
        """What its values are stored as."""
        return "-".join(["measure", self.measure.name, *(f"{share:g}" for share in self.shares)])

    def check(self, n_train: int) -> None:
        """Refuse shares of so many training points that cannot be left out.

        Raises:
            SamattrError: naming the first.
        """
        for share in self.shares:
            size_of(n_train, share)

    def retrainings(self, queries: int, own: int = 0) -> int:
        """The most retrainings that it takes with so many queries, see `Measure`."""
        return max(1, len(self.shares)) * self.measure.retrainings(queries, own)

    def of(self, subject: Subject) -> dict[str, dict[str, Any]]:
        """The mean over queries and its 95 % interval, by share; None where it says nothing of any query."""
        found = self.measure.function(subject, self.shares)
        return {share: _summary(values, self.measure.limits) for share, values in found.items()}


def asked(text: str) -> Asked:
    """What a text asks for.

    Raises:
        SamattrError: for a measure that there is not, or shares that are none.

    >>> asked("lds=0.5,0.05").shares, asked("qld").retrainings(100)
    ((0.05, 0.5), 110)
    """
    name, equals, given = text.partition("=")
    if name not in MEASURES:
        raise unknown_name("measure", name, MEASURES)
    measure = MEASURES[name]
    if not equals:
        return Asked(measure, measure.shares)
    if not measure.shares:
        raise SamattrError(f"{name} is not taken at shares of the points: ask for {name} alone")
    try:
        shares = {float(share) for share in given.split(",")}
    except ValueError:
        shares = {math.nan}
    if not all(0 < share < 1 for share in shares):
        raise SamattrError(f"{name} is taken at shares between 0 and 1, as in {name}=0.05,0.5, not at '{given}'")
    return Asked(measure, tuple(sorted(shares)))


Score = Callable[[Run, Examples], Tensor]
"""A run and queries to scores [n_train, n_query], predicted changes of the queries' functional."""


def measured_values(
    workload: Workload, method: str, functional: str, wanted: Sequence[Asked], score: Score, own: int, path: Path | None
) -> dict[str, dict[str, Any]]:
    """The values of measures of a method on a workload's queries, those that are stored found again.

    Args:
        workload: The workload.
        method: What the method is called.
        functional: What of the queries it attributes.
        wanted: The measures.
        score: The method.
        own: How many retrainings scoring a run takes itself.
        path: The folder that they are stored in; None for not at all.

    Returns:
        `{"mean", "ci95"}` over queries, by measure and share.
    """
    stored = {each: store.load(path, each.key) if path else None for each in wanted}
    found = {each: kept[0]["values"] for each, kept in stored.items() if kept is not None}
    missing = [each for each in stored if each not in found]
    if missing:
        run, queries = train(workload), workload.queries.of(functional)
        count = sum(each.retrainings(len(queries), own) for each in missing)
        names = ", ".join(each.measure.name for each in missing)
        log.warning("%s of %s on %s: up to %d retrainings", names, method, workload.name, count)

        def helping(run: Run) -> Tensor:
            return queries.functional.sign * score(run, queries)

        subject = Subject(run, queries, helping(run), helping)
        for each in missing:
            found[each] = each.of(subject)
            if path:
                store.save(path, each.key, {"values": found[each]})
    values: dict[str, dict[str, Any]] = {}
    for each in wanted:
        values.setdefault(each.measure.name, {}).update(found[each])
    return values


def _summary(values: np.ndarray, limits: Limits) -> dict[str, Any]:
    mean, low, high = mean_interval(values, limits)
    if not np.isfinite(mean):
        return {"mean": None, "ci95": None}
    return {"mean": mean, "ci95": [low, high]}
