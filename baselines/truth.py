"""Ground truth on disk: exact retrainings, written chunk by chunk, resumable, found again by what they depend on.

What is stored is each retraining's final parameters, so that the effect on any query can be read off later.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, reduce
from operator import add
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from baselines.engines import Engine, first_steps, retrain, workers
from baselines.executors import HERE, executor
from baselines.kept import FOLDER, N_CHANGES, Kept, find, own_sets
from baselines.measure import measured
from baselines.planning import Plan, plan_retraining
from samattr_ref.attribution import check_groups, check_queries
from samattr_ref.data import Examples
from samattr_ref.network.functionals import LOSS
from samattr_ref.run import Run
from samattr_ref.support import store
from samattr_ref.support.environment import environment
from samattr_ref.support.errors import SamattrError, UnstableError
from samattr_ref.support.memory import chunks
from samattr_ref.support.progress import working
from samattr_ref.support.seeds import json_digest, stream, tensor_digest, values_digest
from samattr_ref.support.source import reach
from samattr_ref.support.timing import Timing, noted
from samattr_ref.training import REPLAY_TOLERANCE
from samattr_ref.workload import Workload

log = logging.getLogger("samattr")

TRUTH_VERSION = 2
"""Raised where the same groups would retrain to other numbers by what the source does not show, such as rounding."""

LARGE_GRADIENTS = 0.01
"""The share of the points whose gradients count as large where removed points are drawn by strata."""

QUICK_SECONDS = 600
"""A kept truth that took no longer is retrained where more is asked of it than was kept."""


@dataclass(frozen=True, eq=False)
class Truth:
    """The exact effect of removing groups of training points, the run otherwise the same.

    Attributes:
        run: The run whose points were removed.
        groups: The points that each retraining left out.
        retrained: Final parameters ω_{−S} of each retraining, [n_groups, P]; None of a truth that is kept.
        replay_error: ‖ω_{−∅} − ω*‖/‖ω*‖ of retraining with nothing removed: the rounding noise of the truth.
        path: The folder that it is stored in.
        record: Engine, chunk, seconds (with their load, see `samattr_ref.support.timing`) and environment it was made
            with; as `tolerance` how far parameters may be apart between numbers of threads, engines and chunks, over
            ‖ω*‖; as `diverged` the points that retrainings which diverged left out: these are not among the groups.
        kept: Of a truth that is kept, what is kept, see `baselines.kept`.
    """

    run: Run
    groups: list[Tensor]
    retrained: Tensor | None
    replay_error: float
    path: Path
    record: dict[str, Any]
    kept: Kept | None = None

    @cached_property
    def values(self) -> Tensor:
        """ℓ_q(ω_{−S}) − ℓ_q(ω*) for the workload's own queries, [n_groups, n_query]: the convention of Scores."""
        return self.effects(self.run.workload.queries)

    def effects(self, queries: Examples) -> Tensor:
        """f_q(ω_{−S}) − f_q(ω*), [n_groups, n_query], where f is the queries' functional, by default their loss.

        Raises:
            SamattrError: for queries that the network cannot read, or that a truth which took hours was not kept with.
        """
        check_queries(self.run, queries)
        if self.kept is not None and queries.functional == LOSS:
            for name, own in own_sets(self.run).items():
                if queries.pooled == own.pooled and torch.equal(queries.x, own.x) and torch.equal(queries.y, own.y):
                    losses = self.kept.losses[name]
                    return (losses[1:] - losses[0]).to(self.run.parameters)
        after = torch.stack([self.run.query_values(queries, omega) for omega in self.parameters])
        return after - self.run.query_values(queries)

    @cached_property
    def parameters(self) -> Tensor:
        """ω_{−S}, [n_groups, P]. A kept truth is retrained for them where that takes minutes at most.

        Raises:
            SamattrError: where it would take longer.
        """
        if self.retrained is not None:
            return self.retrained
        name, seconds = self.run.workload.name, self.record["seconds"]
        if seconds > QUICK_SECONDS:
            raise SamattrError(
                f"the kept ground truth of {name} has the losses of its own queries, its tuning queries and the mean "
                f"of its validation points alone, and took {seconds:.0f} s: give an engine to leave_one_out to retrain"
            )
        log.info("retraining %s: of its kept ground truth, more is asked than was kept", name)
        return retraining_truth(self.run, self.groups).parameters

    @property
    def timing(self) -> Timing:
        """How long all retrainings took together, one chunk after another."""
        return Timing(self.record["seconds"], self.record.get("load"))

    @property
    def changes(self) -> Tensor:
        """The parameter changes ω_{−S} − ω*, [n_groups, P]."""
        return self.parameters - self.run.parameters

    def first_changes(self, count: int) -> Tensor | None:
        """The changes of the first groups, [count at most, P]; None where a truth was kept without them."""
        if self.kept is None:
            return self.changes[:count]
        kept = self.kept.changes
        return None if kept is None else kept[:count].to(self.run.parameters)

    @property
    def removed(self) -> Tensor:
        """The removed points where each group is a single one, int64 [n_groups].

        Raises:
            SamattrError: if a group holds more than one.
        """
        if any(len(group) != 1 for group in self.groups):
            raise SamattrError("this ground truth removes groups of points: it has no effect of single ones")
        return torch.cat(self.groups)

    @property
    def influence(self) -> Tensor:
        """The exact Influence Score on the validation set, [n_train]; NaN for points that were not removed."""
        scores = torch.full((self.run.n_train,), torch.nan).to(self.run.parameters)
        validation = self.run.splits.validation
        means = self.effects(validation).mean(1) if self.kept is None else self.effects(validation.pool())[:, 0]
        scores[self.removed] = means
        return scores

    @property
    def sha256(self) -> str:
        """SHA-256 of `values` alone: raw, little-endian, row by row."""
        return values_digest(self.values)


def leave_one_out(run: Run, engine: Engine | None = None) -> Truth:
    """Exact same-run leave-one-out: one retraining for each point that the workload says to remove, by default all.

    Goes on where an earlier call was interrupted, and reads a finished truth from the store.

    Args:
        run: The run.
        engine: How to retrain, see `baselines.engines`, where nothing is stored yet; None for the fastest, and for a
            truth that comes with the project in place of retraining, see `baselines.kept`.
    """
    groups = single_points(run)
    if engine is None and not is_made(run, groups):
        kept = _kept_truth(run, single_points_name(run.workload), groups)
        if kept is not None:
            return kept
    return retraining_truth(run, groups, engine)


def find_leave_one_out(run: Run) -> Truth | None:
    """The finished leave-one-out truth of a run, from the store or as it comes with the project; else None."""
    groups = single_points(run)
    if is_made(run, groups):
        return retraining_truth(run, groups)
    return _kept_truth(run, single_points_name(run.workload), groups)


def is_made(run: Run, groups: list[Tensor]) -> bool:
    """Whether all retrainings without these groups are in the store."""
    path = _folder(run, groups)
    plan = store.load(path, "plan")
    if plan is None:
        return False
    n_chunks = len(list(chunks(len(groups) + 1, plan[0]["chunk"])))
    return all(store.exists(path, _chunk_name(i)) for i in range(n_chunks))


def subset_retraining(run: Run, fraction: float, count: int, seed: int = 0, engine: Engine | None = None) -> Truth:
    """Exact retraining without random subsets: what the linear datamodelling score compares with (Ilyas et al. 2022).

    Args:
        run: The run.
        fraction: Share of the training points that each retraining leaves out, in (0, 1).
        count: Number of retrainings.
        seed: Seed of the subsets.
        engine: How to retrain, see `leave_one_out`.

    Raises:
        SamattrError: if the fraction removes no point or every one, or the count is not positive.
    """
    groups = random_subsets(run, fraction, count, seed)
    if engine is None and not is_made(run, groups):
        kept = _kept_truth(run, subsets_name(fraction, count, seed), groups)
        if kept is not None:
            return kept
    return retraining_truth(run, groups, engine)


def random_subsets(run: Run, fraction: float, count: int, seed: int = 0) -> list[Tensor]:
    """The groups that `subset_retraining` leaves out, ascending each.

    Raises:
        SamattrError: if the fraction removes no point or every one, or the count is not positive.
    """
    size = subset_size(run.n_train, fraction, count)
    generators = [stream(seed, "subsets", size, i) for i in range(count)]
    return [torch.randperm(run.n_train, generator=g)[:size].sort().values for g in generators]


def subset_size(n_train: int, fraction: float, count: int) -> int:
    """How many of so many training points each of `count` subsets leaves out.

    Raises:
        SamattrError: if the fraction removes no point or every one, or the count is not positive.
    """
    size = round(fraction * n_train) if math.isfinite(fraction) else 0
    if not (0 < size < n_train and count >= 1):
        raise SamattrError(f"{count} subsets of {size} of {n_train} points cannot be left out")
    return size


def removed_points(run: Run) -> list[int]:
    """The points that the workload's ground truth removes, ascending: drawn by its seed, see `Workload.removed`."""
    count = run.workload.n_removed
    if count is None or count >= run.n_train:
        return list(range(run.n_train))
    order = torch.randperm(run.n_train, generator=stream(run.workload.seed, "removed points"))
    if run.workload.removed == "stratified":
        order = _stratified(run, order, count)
    return order[:count].sort().values.tolist()


def _stratified(run: Run, order: Tensor, count: int) -> Tensor:
    """The points of an order with a quarter of wrong labels and a quarter of large gradients in front of the rest."""
    norms = run.objective.gradient_norms(run.parameters, run.train.x, run.train.y).cpu()
    large = torch.zeros(run.n_train, dtype=torch.bool)
    large[norms.topk(max(1, round(LARGE_GRADIENTS * run.n_train))).indices] = True
    wrong = run.splits.noisy.cpu()
    quarter = count // 4
    first = order[wrong[order]][:quarter]
    second = order[(large & ~wrong)[order]][:quarter]
    chosen = torch.cat([first, second])
    return torch.cat([chosen, order[~torch.isin(order, chosen)]])


def retraining_truth(run: Run, groups: Sequence[Sequence[int] | Tensor], engine: Engine | None = None) -> Truth:
    """Exact same-run retraining without each of the groups, stored chunk by chunk.

    Groups that are first seen late in the run are retrained together: what they share with it is not run again.

    Args:
        run: The run.
        groups: The points to leave out of each retraining.
        engine: How to retrain, where nothing is stored yet; None for the fastest.

    Raises:
        UnstableError: where every retraining diverges, or for a run that does not repeat itself.
        SamattrError: for groups that do not fit the run, or a store that fails.
    """
    checked = check_groups(run, groups)
    if not checked:
        raise SamattrError("there is no group of points to remove")
    first = first_steps(run, checked)
    order = sorted(range(len(checked)), key=first.__getitem__)
    everything = [torch.empty(0, dtype=torch.int64), *(checked[i] for i in order)]  # without nothing: the run itself
    path = _folder(run, checked)
    if not is_made(run, checked):
        with store.lock(path):
            _retrain(run, everything, _plan(run, path, len(everything), engine), path)
    plan, stored = _stored(path, len(everything))
    parameters = torch.cat([tensors["parameters"].to(run.parameters.device) for _, tensors in stored])
    error = float((parameters[0] - run.parameters).norm() / run.parameters.norm())
    tolerance = REPLAY_TOLERANCE[run.parameters.dtype]
    if not error <= tolerance:
        raise UnstableError(
            f"retraining {run.workload.name} with nothing removed (engine {plan.engine}) ends {error:.1e} (relative) "
            "from the run: its training does not repeat itself, since rounding grows in it; lower the learning rate, "
            "take fewer steps or dtype float64"
        )
    took = reduce(add, (Timing(meta["runtime_s"], meta["load"]) for meta, _ in stored))
    record = {
        "engine": plan.engine,
        "chunk": plan.chunk,
        "seconds": took.seconds,
        **noted(took),
        "peak_memory_bytes": max(meta["peak_memory_bytes"] for meta, _ in stored),
        "environment": stored[-1][0]["environment"],
        "tolerance": tolerance,
    }
    parameters = parameters[1:][torch.tensor(order).argsort()]
    finite = torch.isfinite(parameters).all(1)
    if not bool(finite.all()):
        record["diverged"] = [checked[i].tolist() for i in (~finite).nonzero()[:, 0].tolist()]
        _say_diverged(run, record["diverged"], len(checked))
        checked = [group for group, well in zip(checked, finite.tolist(), strict=True) if well]
        parameters = parameters[finite]
    return Truth(run, checked, parameters, error, path, record)


def _say_diverged(run: Run, diverged: list[list[int]], count: int) -> None:
    """Say which retrainings have no effects; those that have are used.

    Raises:
        UnstableError: if none has any.
    """
    name = run.workload.name
    if len(diverged) == count:
        raise UnstableError(f"every retraining of {name} diverged: lower the learning rate or rho")
    first = ", ".join(str(group[0]) if len(group) == 1 else f"{group[:3]}..." for group in diverged[:5])
    log.warning(
        "%d of %d retrainings of %s diverged and have no effects, those without %s: the others are used",
        *(len(diverged), count, name, first),
    )


def _retrain(run: Run, groups: list[Tensor], plan: Plan, path: Path) -> None:
    """Retrain without the groups whose chunks are not stored, and store each chunk as it comes in."""
    slices = list(enumerate(chunks(len(groups), plan.chunk)))
    waiting = [(i, part) for i, part in slices if not store.exists(path, _chunk_name(i))]
    done = len(slices) - len(waiting)
    parts = [(plan, groups[part]) for _, part in waiting]
    cores = 1 if workers(run, plan.engine) > 1 else torch.get_num_threads()
    with working(f"retraining {run.workload.name} ({plan.engine})", len(slices), done) as progress:
        for place, (meta, parameters) in executor().map(retrain_chunk, run, parts, cores):
            store.save(path, _chunk_name(waiting[place][0]), meta, {"parameters": parameters})
            progress.update()


def retrain_chunk(run: Run, part: tuple[Plan, list[Tensor]]) -> tuple[dict[str, Any], Tensor]:
    """Retrain without some groups, by a plan: what it took and where, and the final parameters.

    Those of a retraining that diverges are not finite, and the others are as they are without it.
    """
    plan, groups = part
    parameters, cost = measured(lambda: retrain(run, groups, plan.engine, plan.together), tries=1)
    took = {"runtime_s": cost.seconds, "load": cost.load, "peak_memory_bytes": cost.peak_memory_bytes}
    return {**took, "environment": environment()}, parameters


def _stored(path: Path, count: int) -> tuple[Plan, list[tuple[dict[str, Any], dict[str, Tensor]]]]:
    """The plan of a finished truth, and its chunks."""
    plan = Plan(**store.read(path, "plan")[0])
    return plan, [store.read(path, _chunk_name(i)) for i, _ in enumerate(chunks(count, plan.chunk))]


CHANGES_BYTES = 2**21
"""Up to this size the changes of the parameters are kept of a truth."""


def kept_changes(truth: Truth) -> Tensor | None:
    """The changes of the parameters that are kept of a truth; None where they are too large."""
    small = N_CHANGES * truth.run.parameters.nbytes <= CHANGES_BYTES
    return truth.changes[:N_CHANGES] if small else None


def kept_losses(truth: Truth) -> dict[str, Tensor]:
    """The losses that are kept of a truth, see `baselines.kept.Kept`."""
    run = truth.run
    splits, omegas = run.splits, [run.parameters, *truth.parameters]
    return {
        "queries": torch.stack([run.query_losses(splits.queries, omega) for omega in omegas]),
        "tuning": torch.stack([run.query_losses(splits.tuning, omega) for omega in omegas]),
        # effects are differences far smaller than the mean: of float32 losses they would be rounding
        "validation": torch.stack(
            [run.query_losses(splits.validation, omega).double().mean()[None] for omega in omegas]
        ),
    }


def single_points_name(workload: Workload) -> str:
    """What the truth of the workload's removed points is kept as."""
    return f"loo-{workload.n_removed or len(workload.splits.train)}-{workload.removed}"


def subsets_name(fraction: float, count: int, seed: int = 0) -> str:
    """What the truth of subsets is kept as."""
    return f"subsets-{fraction:g}-{count}-{seed}"


def _kept_truth(run: Run, kind: str, groups: Sequence[Tensor]) -> Truth | None:
    """The truth that is kept of a run; None where there is none, or not all of it."""
    kept = find(run, kind)
    if kept is None:
        return None
    places = {tensor_digest(group): i for i, group in enumerate(kept.groups)}
    order = [places.get(tensor_digest(group)) for group in groups]
    there = [place for place in order if place is not None]
    if len(there) < len(order):
        name = run.workload.name
        log.warning("%d of %d groups of the ground truth of %s are kept: retraining", len(there), len(order), name)
        return None
    rows = torch.tensor([0, *(place + 1 for place in there)])
    losses = {name: losses[rows] for name, losses in kept.losses.items()}
    first = there[:N_CHANGES]
    changes = kept.changes[first] if kept.changes is not None and max(first) < len(kept.changes) else None
    kept = replace(kept, groups=list(groups), losses=losses, changes=changes)
    return Truth(run, kept.groups, None, kept.replay_error, FOLDER, kept.record, kept)


def save_values(truth: Truth) -> None:
    """Write the effects on the workload's own queries beside the parameters: a small file to hand to others.

    `values.safetensors` holds `values` [n_groups, n_query], the removed points group after group, and their counts.
    """
    sizes = torch.tensor([len(group) for group in truth.groups])
    tensors = {"values": truth.values, "removed": torch.cat(truth.groups), "group_sizes": sizes}
    meta = {"values_sha256": truth.sha256, "workload": truth.run.workload.name, "seed": truth.run.workload.seed}
    store.save(truth.path, "values", meta | truth.record, tensors)


def single_points(run: Run) -> list[Tensor]:
    """The workload's removed points, a group each."""
    return [torch.tensor([k]) for k in removed_points(run)]


def _folder(run: Run, groups: list[Tensor]) -> Path:
    seen = [TRUTH_VERSION, reach(__name__).digest, run.origin, [group.tolist() for group in groups]]
    return store.folder("truth", json_digest(seen))


def _chunk_name(index: int) -> str:
    return f"chunk-{index:05d}"


def _plan(run: Run, path: Path, n_groups: int, engine: Engine | None) -> Plan:
    """The stored plan, so that a truth that is gone on with is cut as it was begun, or a new one."""
    if (stored := store.load(path, "plan")) is not None:
        return Plan(**stored[0])
    plan = plan_retraining(run, n_groups, engine, None if executor() is HERE else 1)
    store.save(path, "plan", asdict(plan))
    return plan
