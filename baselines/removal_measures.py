"""Measures that retrain: does the network do what scores say when the points that they name are left out?

All of them retrain as the ground truth does: the same run, its batches and its start, without a group of points
(`baselines.truth.retraining_truth`), so that an interrupted one goes on where it stopped. Scores are [n_train, n_query]
and large where a point helps a query: of a functional where larger is better (`samattr_ref.network.functionals`) they
are to be turned around. Each measure gives one value a query, [n_query], for each share of the training points that it
is taken at; NaN where it says nothing of a query.

| measure           | of a query, at each share                                       | best    | source              |
| ----------------- | --------------------------------------------------------------- | ------- | ------------------- |
| lds               | rank agreement over random subsets of the share                 | highest | Ilyas et al. 2022   |
| qld               | its loss without its own highest-scored points − random ones    | highest | bergson             |
| brittleness       | whether its prediction is wrong without them, or without fewer  | highest | dattri              |
| removal_loss      | its loss without the points of highest mean score − random ones | highest | Ghorbani & Zou 2019 |
| removal_accuracy  | the same of its being right                                     | lowest  | Ghorbani & Zou 2019 |
| addition_loss     | its loss with the points of highest mean score alone − random   | lowest  | Ghorbani & Zou 2019 |
| addition_accuracy | the same of its being right                                     | highest | Ghorbani & Zou 2019 |

What is drawn at random is drawn `RANDOM` times by the workload's seed, and its mean taken.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from baselines import metrics
from baselines.diverged import whole
from baselines.truth import random_subsets, retraining_truth, subset_retraining
from samattr_ref.attribution import check_queries
from samattr_ref.data import Examples
from samattr_ref.run import Run
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.seeds import tensor_digest

Array = np.ndarray
Values = dict[str, Array]
"""One value a query, [n_query], by the share that it is taken at."""

RANDOM = 10
"""So many random groups are what the named points are held against."""

SUBSETS = 50
"""So many random subsets is a linear datamodelling score taken over."""


def lds(run: Run, scores: Tensor, shares: Sequence[float] = (0.05, 0.5), queries: Examples | None = None) -> Values:
    """The linear datamodelling score without random subsets of each share, see `baselines.metrics`.

    Args:
        run: The run.
        scores: Scores [n_train, n_query], large where a point helps.
        shares: The shares of the training points that subsets leave out.
        queries: What was scored; the workload's own queries by default.

    Raises:
        SamattrError: for scores of another shape, not finite, or a share that leaves out no point or all.
    """
    values, queries = _checked(run, scores, queries)
    found = {}
    for share in shares:
        truth = subset_retraining(run, size_of(run.n_train, share) / run.n_train, SUBSETS, run.workload.seed)
        effects = (queries.functional.sign * truth.effects(queries)).double().cpu().numpy()
        groups = [group.numpy() for group in truth.groups]
        found[f"{share:g}"] = metrics.linear_datamodelling_score(values, groups, effects)
    return found


def qld(run: Run, scores: Tensor, shares: Sequence[float] = (0.01,), queries: Examples | None = None) -> Values:
    """The query's loss without its own highest-scored points, minus the mean without as many random ones, in nats.

    The arguments and errors are those of `lds`.
    """
    values, queries = _checked(run, scores, queries)
    found = {}
    for share in shares:
        size = size_of(run.n_train, share)
        named, chance = _highest(values, size), _random(run, size)
        omegas = _without(run, [*named, *chance])
        own = [run.query_losses(queries.take(slice(q, q + 1)), omega) for q, omega in enumerate(omegas[: len(named)])]
        others = torch.stack([run.query_losses(queries, omega) for omega in omegas[len(named) :]])
        found[f"{share:g}"] = (torch.cat(own) - others.mean(0)).double().cpu().numpy()
    return found


def fewest_to_flip(run: Run, scores: Tensor, shares: Sequence[float], queries: Examples | None = None) -> Array:
    """The smallest of the shares of its highest-scored points without which a query is no longer predicted right.

    The ladder is walked upwards, and a query whose prediction flipped is retrained no more. The arguments and errors
    are those of `lds`.

    Returns:
        The shares [n_query]; infinity where none flips the query, NaN where the run itself does not predict it right.
    """
    values, queries = _checked(run, scores, queries)
    fewest = np.where(_right(run, queries, run.parameters), np.inf, np.nan)
    for share in sorted(shares):
        waiting = np.flatnonzero(np.isposinf(fewest)).tolist()
        if not waiting:
            break
        named = _highest(values[:, waiting], size_of(run.n_train, share))
        for q, omega in zip(waiting, _without(run, named), strict=True):
            if not _right(run, queries.take(slice(q, q + 1)), omega)[0]:
                fewest[q] = share
    return fewest


def brittleness(
    run: Run, scores: Tensor, shares: Sequence[float] = (0.01, 0.02, 0.05, 0.1, 0.2), queries: Examples | None = None
) -> Values:
    """1 where a query's prediction has flipped at a share or a smaller one, else 0; NaN as `fewest_to_flip`."""
    fewest = fewest_to_flip(run, scores, shares, queries)
    return {f"{share:g}": np.where(np.isnan(fewest), np.nan, fewest <= share) for share in sorted(shares)}


def removal(
    run: Run,
    scores: Tensor,
    shares: Sequence[float] = (0.05, 0.1, 0.2),
    queries: Examples | None = None,
    *,
    accuracy: bool = False,
    only: bool = False,
) -> Values:
    """The loss of each query without the points of the highest mean score, minus the mean without as many random ones.

    Args:
        run: The run.
        scores: Scores, see `lds`.
        shares: The shares of the training points, see `only`.
        queries: See `lds`.
        accuracy: Being right, 1 or 0, in the place of the loss.
        only: Train on the highest-scored share alone, or on a random one, instead of leaving it out.

    Raises:
        SamattrError: as `lds`.
    """
    values, queries = _checked(run, scores, queries)
    measured: Callable[[Tensor], Array] = (
        (lambda omega: _right(run, queries, omega).astype(float))
        if accuracy
        else (lambda omega: run.query_losses(queries, omega).double().cpu().numpy())
    )
    found = {}
    for share in shares:
        size = size_of(run.n_train, share)
        if only:  # the lowest are left out
            size = run.n_train - size
        (named,) = _highest((-1 if only else 1) * values.mean(1, keepdims=True), size)
        left_out, *chance = (measured(omega) for omega in _without(run, [named, *_random(run, size)]))
        found[f"{share:g}"] = left_out - np.mean(chance, axis=0)
    return found


def _checked(run: Run, scores: Tensor, queries: Examples | None) -> tuple[Array, Examples]:
    """Scores in float64 and the queries that they are of.

    Raises:
        SamattrError: if they do not go together.
    """
    queries = run.workload.queries if queries is None else queries
    check_queries(run, queries)
    expected, shape = [run.n_train, len(queries)], list(scores.shape)
    if queries.pooled or shape != expected:
        raise SamattrError(
            f"scores must be [n_train, n_query] = {expected} of queries that are not pooled, not {shape}"
        )
    if not bool(torch.isfinite(scores).all()):
        raise SamattrError("scores hold NaN or infinity: there is no order of points by them")
    return scores.double().cpu().numpy(), queries


def size_of(n_train: int, share: float) -> int:
    """How many of so many training points a share is, at least one.

    Raises:
        SamattrError: if it is none of the points or all of them.
    """
    size = max(1, round(share * n_train))
    if not (0 < share < 1 and size < n_train):
        raise SamattrError(f"a share of {share:g} of {n_train} training points cannot be left out")
    return size


def _highest(scores: Array, size: int) -> list[Tensor]:
    """The points with the highest scores in each column, ascending; of ties the first."""
    order = np.argsort(-scores, axis=0, kind="stable")[:size]
    return list(torch.from_numpy(np.sort(order, axis=0).T.copy()))


def _random(run: Run, size: int) -> list[Tensor]:
    return random_subsets(run, size / run.n_train, RANDOM, run.workload.seed)


def _without(run: Run, groups: Sequence[Tensor]) -> list[Tensor]:
    """Final parameters [P] of retraining without each group; those that are the same are retrained once."""
    keys = [tensor_digest(group) for group in groups]
    distinct = dict(zip(keys, groups, strict=True))
    parameters = whole(retraining_truth(run, list(distinct.values()))).parameters
    found = dict(zip(distinct, parameters, strict=True))
    return [found[key] for key in keys]


def _right(run: Run, queries: Examples, omega: Tensor) -> Array:
    """Which queries are predicted right, [n_query]."""
    right: Array = (run.predictions(queries, omega).argmax(-1) == queries.y).cpu().numpy()
    return right
