"""Making a row of the leaderboard, and making it again to see whether it says the truth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from baselines.comparison import metrics_within
from baselines.kept import identity, shipped
from baselines.leaderboard.row import COMPARED, Row, Seed
from baselines.studies.agreement import UNTUNED
from baselines.studies.plain import plain_training
from baselines.truth import single_points_name
from baselines.validation import Validation, first_of_grid, validate
from samattr_ref.catalogue import load_workload
from samattr_ref.registry import Method, as_method
from samattr_ref.solvers.dense import DENSE_LIMIT
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.progress import track
from samattr_ref.support.timing import Timing, noted
from samattr_ref.training import train
from samattr_ref.workload import Workload

ROWS = Path(__file__).parent / "rows"
"""The rows that come with the project."""

SEEDS = (0, 1, 2)
DIGITS = 6
"""Of the numbers in a row: more would be rounding."""

TOLERANCE = 0.02
"""How far the metric may be from a row's on any query when the row is made again."""


@dataclass(frozen=True)
class Verified:
    """A row beside what was made again.

    Attributes:
        row: Its name.
        difference: The largest difference of the metric on any query.
        tolerance: How large it may be.
    """

    row: str
    difference: float
    tolerance: float


def check_addition(
    method: str | Callable[..., Any] | Method, workload: str, seeds: Sequence[int] = SEEDS
) -> tuple[Method, list[Workload]]:
    """The method of a row, and its workload at every seed, where a row can be made of them; nothing is trained.

    The arguments are those of `make_row`.

    Raises:
        SamattrError: for a name that there is not, a method that cannot be called, or where no ground truth of the
            workload comes with the project.
    """
    chosen = as_method(method)
    chosen.check(first_of_grid(chosen))
    workloads = [load_workload(workload, seed) for seed in seeds]
    for each in workloads:
        identity(each, single_points_name(each))
    return chosen, workloads


def make_row(
    method: str | Callable[..., Any] | Method, workload: str, tuned: bool = True, seeds: Sequence[int] = SEEDS
) -> Row:
    """Validate a method on every seed of a workload.

    Args:
        method: A method's name, a user's `path/to/file.py:function`, or a function.
        workload: The name of a workload whose ground truth comes with the project.
        tuned: Whether options are chosen on held-out queries; else the method's defaults are taken, and what the
            experiments take on networks whose curvature does not fit as a matrix.
        seeds: Seeds of the workload.

    Raises:
        SamattrError: where no ground truth of the workload comes with the project, the method has no options to
            choose and `tuned` is False, or it gives no scores.
    """
    chosen, workloads = check_addition(method, workload, seeds)
    if not tuned and not chosen.tune:
        raise SamattrError(f"{chosen.name} chooses no option: it has one row, the tuned one")
    given = {} if tuned else _untuned(chosen, workloads[0])
    each = track(workloads, f"seeds of {chosen.name} on {workload}")
    results = [_seed(chosen, one, given) for one in each]
    name = chosen.name.rpartition(":")[2]
    environment = results[0][1].environment
    return Row(name, workload, tuned, chosen.summary, chosen.source, [one for one, _ in results], environment)


def _untuned(chosen: Method, workload: Workload) -> dict[str, Any]:
    """Options that nobody chose.

    Raises:
        SamattrError: where one has no default.
    """
    if chosen.tune_large is not None and len(workload.build()[1]) > DENSE_LIMIT:
        return chosen.having(UNTUNED)
    chosen.check({})
    return {name: chosen.options[name].default for name in chosen.tune}


def _seed(method: Method, workload: Workload, given: dict[str, Any]) -> tuple[Seed, Validation]:
    recipe, truth = identity(workload, single_points_name(workload))
    run = train(workload)
    result = validate(method, workload, options=given)
    assert result.runtime_s is not None and result.peak_memory_bytes is not None  # as of every method
    per_query = {
        name: [round(value, DIGITS) for value in values] for name, values in result.per_query.items() if values
    }
    numbers = {
        metric.name: _rounded(result.metrics[metric.key])
        for metric in metrics_within("validation")
        if not metric.per_query
    }
    plain, timing = plain_training(run), Timing(result.runtime_s, result.load)
    found = Seed(
        seed=workload.seed,
        recipe=recipe,
        truth=truth,
        options=result.diagnostics.get("options", {}),
        per_query=per_query,
        metrics=numbers,
        runtime_s=round(result.runtime_s, DIGITS),
        trainings=round(result.runtime_s / plain.seconds, DIGITS),
        peak_memory_bytes=result.peak_memory_bytes,
        marks=result.marks,
        **noted(timing, plain),
    )
    return found, result


def check_truths(row: Row) -> None:
    """Refuse a row that was held against another ground truth than the one that comes with the project.

    Raises:
        SamattrError: naming the seed.
    """
    known = shipped(row.workload)
    for one in row.seeds:
        if (one.recipe, one.truth) not in known:
            raise SamattrError(
                f"the row '{row.name}' of {row.workload} is of another ground truth at seed {one.seed} than the one "
                "that comes with the project: make it again"
            )


def verify_row(row: Row, method: str | None = None) -> Verified:
    """Make a row again and compare.

    Args:
        row: The row.
        method: Where its method is found, for one that is not registered by its name.

    Raises:
        SamattrError: for a row of another ground truth, or whose metric is further off on a query than `TOLERANCE`.
    """
    check_truths(row)
    again = make_row(method or row.method, row.workload, row.tuned, [one.seed for one in row.seeds])
    pairs = zip(row.values(), again.values(), strict=True)
    difference = max(float(np.abs(np.subtract(own, new)).max()) for own, new in pairs)
    if not difference <= TOLERANCE:
        raise SamattrError(
            f"the row '{row.name}' of {row.workload} could not be made again: its {COMPARED} is {difference:.3f} off on"
            f" a query, where {TOLERANCE} is allowed"
        )
    return Verified(row.name, difference, TOLERANCE)


def _rounded(value: Any) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), DIGITS)
