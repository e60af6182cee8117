"""What a validation computes of a method: a part of it is timed, and the rest follows from the method's formula.

The part doubles, in points until it has all of them, then in queries, then in steps, until a call takes long enough:
what is small is timed whole, and of what is large most is by its formula (`samattr_ref.growth`). No formula holds where
an implicit method makes the curvature a matrix: that is timed whole.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from baselines.kept import N_CHANGES
from baselines.keys import is_ours
from baselines.probing import Probe
from baselines.unbegun import first_points_of, first_steps_of
from baselines.validation import grid_of, tried_chain, warm_up
from samattr_ref.attribution import attribute, influence_score, parameter_change
from samattr_ref.growth import Growth
from samattr_ref.registry import Family, Method
from samattr_ref.run import Run
from samattr_ref.solvers.dense import DENSE_LIMIT
from samattr_ref.support.errors import SamattrError

PART_SECONDS = 1.0
"""The part grows until a call takes so long."""


@dataclass(frozen=True)
class ScoreCost:
    """Device-seconds of a method in a validation.

    Attributes:
        chains: Of each chain of its grid, in which options are chosen.
        scores: Of the scores of all queries, the Influence Scores, and the changes of the parameters.
    """

    chains: list[float]
    scores: float


def score_cost(
    probe: Probe, method: Method, run: Run, trial: Run, given: Mapping[str, Any], bound: int | None, functional: str
) -> ScoreCost:
    """Time a method on a part of a run.

    Args:
        probe: What times.
        method: The method.
        run: The run, begun or from the store.
        trial: Its first steps with their states, see `baselines.unbegun.taken`.
        given: Options that are given; of the others the middle one of the grid is timed.
        bound: `memory_bytes` of the method.
        functional: What is attributed.

    Raises:
        SamattrError: for a method whose growth is not known, or what keeps it from giving scores of the part.
    """
    if method.growth is None:
        raise SamattrError("how their cost grows is not known: register the method with growth=")
    axes = {name: values for name, values in grid_of(method, run).items() if name not in given}
    grid = [{**given, **dict(zip(axes, values, strict=True))} for values in itertools.product(*axes.values())]
    options, shared = grid[len(grid) // 2], method.name if is_ours(method) else method.function
    queries, tuning = run.splits.queries.of(functional), run.splits.tuning.of(functional)
    removed = min(N_CHANGES, run.workload.n_removed or run.n_train)
    growth = method.growth
    changes = next((way.growth for way in method.ways.values() if way.change), growth)
    if method.family is Family.IMPLICIT and len(run.parameters) <= DENSE_LIMIT:
        growth = changes = Growth("P³")

    def chosen(part: Run, count: int) -> object:
        return tried_chain((part, shared, tuning.take(slice(0, count)), bound), grid)

    def scored(part: Run, count: int) -> object:
        asked = queries.take(slice(0, count))
        return attribute(part.fresh(), method.function, asked, memory_bytes=bound, **options)

    def influence(part: Run, _: int) -> object:
        return influence_score(part, method.function, run.splits.validation, memory_bytes=bound, **options)

    def changed(part: Run, count: int) -> object:
        return parameter_change(part, method.function, [[k] for k in range(count)], memory_bytes=bound, **options)

    growth = method.growth
    if method.family is Family.IMPLICIT and len(run.parameters) <= DENSE_LIMIT:
        growth = changes = Growth("P³")
    warm_up(trial)
    of = partial(_grown, probe, run, trial)
    chains = math.prod(len(values) for values in list(axes.values())[:-1])
    # in the order of a validation, which computes what its parts have in common once
    tuned = [of(growth, chosen, len(tuning)) / chains] * chains if axes else []
    seconds = of(growth, scored, len(queries)) + of(replace(growth, Q=0), influence, 1)
    if method.change is not None:
        seconds += of(changes, changed, removed)
    return ScoreCost(tuned, seconds)


def mean_query_cost(probe: Probe, method: Method, run: Run, trial: Run) -> float:
    """Device-seconds of a method's scores for the mean query, see `score_cost`; its growth is known."""
    assert method.growth is not None
    queries = run.splits.queries.pool()
    growth = replace(method.growth, Q=0)
    return _grown(probe, run, trial, growth, lambda part, _: attribute(part, method.function, queries), 1)


def _grown(probe: Probe, run: Run, trial: Run, growth: Growth, call: Callable[[Run, int], object], count: int) -> float:
    """Device-seconds of `call(run, count)`, see the module; in what it does not grow it is whole."""
    whole = {"n": run.n_train, "Q": count, "T": run.n_steps}
    most = whole | {"T": trial.n_steps}
    least = {"n": min(run.n_train, run.batches.shape[1]), "Q": 1, "T": 1}
    part = {axis: least[axis] if getattr(growth, axis) else most[axis] for axis in whole}
    while True:
        given = first_points_of(first_steps_of(trial, part["T"]) if growth.T else trial, part["n"])
        seconds = probe.time(partial(call, given, part["Q"]))
        axis = next((axis for axis in whole if part[axis] < most[axis]), None)
        if axis is None or seconds >= PART_SECONDS:
            break
        part[axis] = min(most[axis], 2 * part[axis])
    return seconds * math.prod((whole[axis] / part[axis]) ** int(getattr(growth, axis)) for axis in whole)
