"""Attribution of a run by any method: scores, influence scores and parameter changes, in blocks that fit in memory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from samattr_ref.data import Examples
from samattr_ref.registry import DENSE_VECTORS, Method, as_method, dense_query
from samattr_ref.run import Run
from samattr_ref.scores import Scores, merge_diagnostics
from samattr_ref.support.errors import SamattrError, TrajectoryError
from samattr_ref.support.foreign import foreign
from samattr_ref.support.memory import block_length, check_fits, in_chunks, memory_bound
from samattr_ref.training import train
from samattr_ref.workload import Workload


def attribute(
    run: Run,
    method: str | Callable[..., Any],
    queries: Examples | None = None,
    *,
    memory_bytes: int | None = None,
    runs: int = 1,
    **options: Any,
) -> Scores:
    """Score every training point of a run for every query.

    Args:
        run: The run that is attributed.
        method: A method's name, a user's `package.module:function`, or a function `(run, queries, **options)`.
        queries: The queries; the workload's own by default. Of `queries.of("margin")` it is the margin that is
            attributed, see `samattr_ref.network.functionals`.
        memory_bytes: What the call may hold beside the run, the queries and the scores; 512 MiB by default, and more
            where a single query or point takes more. A function that nobody registered gets all queries at once. The
            first calls on a network also try how it can be computed: beside the bound, within 100 vectors of its
            parameters.
        runs: k, over how many runs of the same training scores are averaged: this one and k − 1 with other initial
            parameters and batches. The mean says what is to be expected of a point, whatever the seed; it takes k − 1
            more trainings, and k times the time.
        **options: The method's options.

    Returns:
        Scores [n_train, n_query]: predicted ℓ_q(ω_{−i}) − ℓ_q(ω*), positive where point i helps query q; of another
        functional the predicted change of it, negative where point i helps if larger is better.

    Raises:
        SamattrError: for an unknown method or option, queries that the network cannot read, a functional that the
            method does not take, a method that fails (what it raised is the error's `__cause__`) or returns another
            shape, NaN or infinity, a bound that is too small, or a number of runs that is none.
    """
    chosen = as_method(method)
    queries = run.workload.queries if queries is None else queries
    check_queries(run, queries)
    chosen.check_functional(queries.functional.name, run.workload.loss)
    chosen.check(options)
    if isinstance(runs, bool) or not isinstance(runs, int) or runs < 1:
        raise SamattrError(f"runs must be a whole number of at least 1, not {runs!r}")
    with memory_bound(memory_bytes):
        scores = _scores(chosen, run, queries, options)
        for seed in training_seeds(run.workload, runs)[1:]:
            again = train(replace(run.workload, training_seed=seed))
            scores = _added(scores, _scores(chosen, again, queries, options), again)
    if runs > 1:
        scores = Scores(scores.values / runs, {**scores.diagnostics, "runs": runs})
    low, high = scores.values.aminmax()  # both are NaN where one value is
    if not bool(torch.isfinite(low) & torch.isfinite(high)):
        raise SamattrError(f"{chosen.name} returned NaN or infinity")
    return scores


@contextmanager
def _named(method: Method) -> Iterator[None]:
    """Have the method named where it asks a run for what is not known of it, or raises an exception of its own.

    Raises:
        SamattrError: what it raised in one line, with the line of its file; the exception itself is its cause.
    """
    try:
        with foreign(f"method {method.name} failed", method.function):
            yield
    except TrajectoryError as error:
        raise TrajectoryError(method.name) from error


def training_seeds(workload: Workload, count: int) -> list[int]:
    """Training seeds of several runs of the same training: the workload's own, then others."""
    return [workload.drawn_by, *(seed for seed in range(count) if seed != workload.drawn_by)][:count]


def _added(total: Scores, scores: Scores, run: Run) -> Scores:
    """The sum of scores of several runs, with the seconds that the further ones took to train."""
    seconds = total.diagnostics.get("training_seconds", 0.0) + run.environment["seconds"]
    merged = merge_diagnostics(total.diagnostics, scores.diagnostics)
    return Scores(total.values + scores.values, {**merged, "training_seconds": seconds})


def _scores(method: Method, run: Run, queries: Examples, options: Mapping[str, Any]) -> Scores:
    """Scores of all queries, by blocks of them where the method allows it."""
    with _named(method):
        return _in_blocks(method, run, queries, options)


def _in_blocks(method: Method, run: Run, queries: Examples, options: Mapping[str, Any]) -> Scores:
    count = len(queries)

    def of(part: slice) -> Scores:
        block = queries if part == slice(0, count) else queries.take(part)
        found = method.function(run, block, **options)
        given = found if isinstance(found, Scores) else Scores(found)
        shape = [run.n_train, part.stop - part.start]
        return replace(given, values=_tensor(method, given.values, run, "scores", "[n_train, n_query]", shape))

    if method.query_bytes is None:
        return of(slice(0, count))
    column = 2 * run.n_train * run.parameters.element_size()
    blocks = in_chunks(of, count, _block(run, method.query_bytes(run) + column))
    part, scores = next(blocks)
    if part.stop == count:
        return scores
    values = scores.values.new_empty(run.n_train, count)
    diagnostics = scores.diagnostics
    values[:, part] = scores.values
    for part, scores in blocks:
        values[:, part] = scores.values
        diagnostics = merge_diagnostics(diagnostics, scores.diagnostics)
    return Scores(values, diagnostics)


def _tensor(method: Method, found: Any, run: Run, what: str, axes: str, shape: list[int]) -> Tensor:
    """What a method returned as a tensor of real numbers of that shape, without what recorded gradients of it."""
    try:
        values = torch.as_tensor(found).detach()
    except Exception as error:  # whatever objects that are no numbers raise
        raise SamattrError(f"{method.name} returned a {type(found).__name__}, not {what} {axes}") from error
    if values.layout != torch.strided or values.is_complex():
        raise SamattrError(f"{method.name} returned sparse or complex {what}: return a dense tensor of real numbers")
    if list(values.shape) != shape:
        raise SamattrError(f"{method.name} returned {what} of shape {list(values.shape)}, not {axes} = {shape}")
    return values if values.is_floating_point() else values.to(run.parameters.dtype)


def _block(run: Run, bytes_per_item: int) -> int:
    """How many queries, or groups of points, fit in memory."""
    check_fits(DENSE_VECTORS * run.parameters.nbytes, "a gradient with what is made of it")
    return block_length(bytes_per_item)


def influence_score(run: Run, method: str | Callable[..., Any], validation: Examples, **options: Any) -> Tensor:
    """The Influence Score of each training point: the mean of its row over a validation set, shape [n_train].

    The options are those of `attribute`, `memory_bytes` and `runs` among them.
    """
    _check_examples(validation, "the validation set")
    queries = validation.pool() if as_method(method).linear else validation
    return attribute(run, method, queries, **options).values.mean(1)


def parameter_change(
    run: Run,
    method: str | Callable[..., Any],
    removed: Sequence[Sequence[int] | Tensor],
    *,
    memory_bytes: int | None = None,
    **options: Any,
) -> Tensor:
    """The parameter change ω_{−S} − ω* that a method predicts for removing each group of training points.

    Args:
        run: The run.
        method: A method that defines a parameter change.
        removed: Groups of training points.
        memory_bytes: What the call may hold beside the run and the result, see `attribute`.
        **options: The method's options.

    Returns:
        Δ, shape [n_groups, P].

    Raises:
        SamattrError: if the method defines none, a group names a point that is not there, or a bound is too small.
    """
    chosen = as_method(method)
    chosen.check(options)
    if chosen.change is None:
        raise SamattrError(f"{chosen.name} does not predict a parameter change")
    change, groups = chosen.change, check_groups(run, removed)

    def of(part: slice) -> Tensor:
        shape = [part.stop - part.start, len(run.parameters)]
        return _tensor(chosen, change(run, groups[part], **options), run, "parameter changes", "[n_groups, P]", shape)

    if not groups:
        return run.parameters.new_empty(0, len(run.parameters))
    with memory_bound(memory_bytes), _named(chosen):
        own = chosen.query_bytes(run) if chosen.query_bytes else 0
        each = max(own, dense_query(run)) + 4 * run.n_train * run.parameters.element_size()  # who is in which group
        blocks = in_chunks(of, len(groups), _block(run, each))
        part, found = next(blocks)
        if part.stop == len(groups):
            return found
        changes = found.new_empty(len(groups), found.shape[1])
        changes[part] = found
        for part, found in blocks:
            changes[part] = found
    return changes


def check_groups(run: Run, removed: Sequence[Sequence[int] | Tensor]) -> list[Tensor]:
    """The groups as index tensors.

    Raises:
        SamattrError: if one names a point twice or a point that is not there.
    """
    groups = [torch.as_tensor(group, dtype=torch.int64).reshape(-1) for group in removed]
    for group in groups:
        if len(group) and not (int(group.min()) >= 0 and int(group.max()) < run.n_train):
            raise SamattrError(f"a removed point lies outside 0..{run.n_train - 1}")
        if len(group.unique()) != len(group):
            raise SamattrError("a group names a training point twice")
    return groups


def check_queries(run: Run, queries: Examples) -> None:
    """Refuse queries that the run's network cannot read.

    Raises:
        SamattrError: saying what was expected.
    """
    _check_examples(queries, "queries")
    want, got = list(run.train.x.shape[1:]), list(queries.x.shape[1:])
    if want != got:
        raise SamattrError(f"queries have inputs of shape {got}, the network of {run.workload.name} reads {want}")
    read, given = ((x.dtype, str(x.device)) for x in (run.train.x, queries.x))
    if read != given:
        raise SamattrError(
            f"queries are {given[0]} on {given[1]}, the network of {run.workload.name} reads {read[0]} on {read[1]}: "
            f"give queries.to('{read[1]}', {read[0]})"
        )
    if not queries.y.is_floating_point() and int(queries.y.max()) >= run.splits.n_classes:
        raise SamattrError(f"a query's label is outside the {run.splits.n_classes} classes")
    if queries.y.is_floating_point() and queries.y.dtype != run.train.y.dtype:
        raise SamattrError(
            f"queries have targets in {queries.y.dtype}, the network of {run.workload.name} was trained on "
            f"{run.train.y.dtype}: give queries.to('{read[1]}', {read[0]})"
        )
    run.workload.loss.check(queries.y, run.splits.n_classes)
    queries.functional.of(run.workload.loss)  # refused where there are no classes


def _check_examples(given: Any, what: str) -> None:
    if not isinstance(given, Examples):
        raise SamattrError(f"{what} must be Examples (inputs with labels), not {type(given).__name__}")
