"""Training: a Workload becomes a Run, found again on disk, resumed where it stopped."""

import itertools
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from samattr_ref.divergence import diverged, lost_from
from samattr_ref.network.network import Ways
from samattr_ref.network.objective import Objective
from samattr_ref.network.proof import prove, prove_again
from samattr_ref.recipe import SamRecipe
from samattr_ref.run import Run, as_device
from samattr_ref.sam.step import Batch, State, first_state, sam_step
from samattr_ref.support import store
from samattr_ref.support.device import device
from samattr_ref.support.environment import environment
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.fingerprint import Fingerprint, fingerprint
from samattr_ref.support.foreign import foreign
from samattr_ref.support.progress import track
from samattr_ref.support.seeds import json_digest
from samattr_ref.support.timing import Stopwatch, Timing
from samattr_ref.workload import Workload

log = logging.getLogger("samattr")

SAVE_SECONDS = 30.0
"""How often a long training run writes down where it is."""

COMPARED = 8
"""The views of so many points are compared."""

KEEP_ALL_BYTES = 512 * 2**20
"""Up to this size a run keeps every state; a larger one keeps square-root spaced states and recomputes the others."""

REPLAY_TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-3}
"""How far, relative to ‖ω*‖, a run that is taken again may end from itself: with other threads, by another engine, in
chunks of another size, or recorded elsewhere."""


def train(workload: Workload, checkpoints: str | int = "auto") -> Run:
    """Train a workload, or find the stored run of it.

    Args:
        workload: What to train.
        checkpoints: Which states ω_t to keep: `"all"`; C of them, evenly spaced, each in the middle of its segment of
            the run; `"sqrt"` for √T evenly spaced ones; `"auto"` for all within 512 MiB, else `"sqrt"`. States that
            are not kept are recomputed, bit for bit, where a method needs them.

    Returns:
        The run, with ω_0 and ω_T always kept.

    Raises:
        UnstableError: if training diverges.
        SamattrError: if C is larger than the number of steps, the network breaks a rule (`samattr_ref.network.proof`),
            or the store cannot be used.
    """
    objective, initial = workload.build()
    network = fingerprint(objective.module)
    keep = steps_to_keep(checkpoints, workload.recipe, initial)
    origin = workload.key_of(network)
    if network.unkeyed:
        parts = ", ".join(network.unkeyed)
        log.warning("the network of %s holds what nothing can be found again by (%s): not stored", workload.name, parts)
    key = json_digest([origin, keep.tolist()])
    path = store.folder("runs", key)
    stored = store.load(path, "run")
    if stored is None:
        with store.lock(path):
            stored = store.load(path, "run")  # another process may have made it meanwhile
            if stored is None:
                _check_build(workload, network, initial)
                _check_augmentation(workload)
                stored = _train(workload, objective, initial, keep, path)
                store.save(path, "run", *stored)
                for name in _partials(path):
                    store.delete(path, name)
    meta, tensors = stored
    record: dict[str, Any] = {**meta["environment"], "seconds": meta["seconds"], "load": meta["load"]}
    held: dict[str, Any] = {**as_device(tensors, device())}
    return Run(
        workload=workload,
        key=key,
        environment=record,
        origin=origin,
        network=network.digest,
        ways=Ways(**meta["ways"]),
        **held,
    )


def _check_build(workload: Workload, network: Fingerprint, initial: Tensor) -> None:
    """Refuse a model that builds another network the second time: attribution builds it again."""
    second, parameters = workload.build()
    same = torch.equal(initial, parameters) if network.unkeyed else fingerprint(second.module).digest == network.digest
    if not same:
        raise SamattrError(
            f"the model of {workload.name} builds another network the second time: draw from torch's, NumPy's or "
            "Python's global generator, which are seeded for it, and keep no state between builds"
        )


def _check_augmentation(workload: Workload) -> None:
    """Refuse views that differ from call to call, are of another shape, or mix the points of a batch."""
    x = workload.splits.train.x[:COMPARED]
    other = torch.cat([x[1:2], x[1:]])  # another first point
    with foreign(f"the augmentation of {workload.name} failed"):
        first, again, changed = (workload.inputs(inputs.clone(), 0) for inputs in (x, x, other))
    same = isinstance(first, Tensor) and first.shape == x.shape and torch.equal(first, again)
    if not same or not torch.equal(first[1:], changed[1:]):
        raise SamattrError(
            f"the augmentation of {workload.name} must give each point of a batch a view of its shape that depends on "
            "that point, the seed, the step and its place alone: draw from a generator seeded by them, mix no points"
        )


def steps_to_keep(checkpoints: str | int, recipe: SamRecipe, initial: Tensor) -> Tensor:
    """The steps whose states a run keeps, 0 always among them, ascending int64."""
    if checkpoints == "auto":
        vectors = 1 + bool(recipe.momentum) + recipe.variant.remembers
        bytes_a_state = vectors * initial.numel() * initial.element_size()
        checkpoints = "all" if bytes_a_state * recipe.steps <= KEEP_ALL_BYTES else "sqrt"
    if checkpoints == "all":
        return torch.arange(recipe.steps)
    if checkpoints == "sqrt":
        checkpoints = max(1, round(recipe.steps**0.5))
    if not isinstance(checkpoints, int):
        raise SamattrError(f"checkpoints must be 'all', 'sqrt', 'auto' or a number, not '{checkpoints}'")
    first = torch.zeros(1, dtype=torch.int64)
    kept: Tensor = torch.unique(torch.cat([first, middle_steps(checkpoints, recipe.steps)]))
    return kept


def segment_bounds(count: int, steps: int) -> list[tuple[int, int]]:
    """`count` segments [start, stop) of nearly equal length that cover `steps` steps.

    Raises:
        SamattrError: if there are more segments than steps, or none.

    >>> segment_bounds(3, 10)
    [(0, 3), (3, 7), (7, 10)]
    """
    if not (isinstance(count, int) and 1 <= count <= steps):
        raise SamattrError(f"checkpoints must be a whole number from 1 to the number of steps, {steps}, not {count!r}")
    edges = [round(i * steps / count) for i in range(count + 1)]
    return list(itertools.pairwise(edges))


def middle_steps(count: int, steps: int) -> Tensor:
    """The middle step of each segment: where a checkpoint stands for its segment. With one step each, that step."""
    return torch.tensor([(start + stop - 1) // 2 for start, stop in segment_bounds(count, steps)])


def advance(run: Run, state: State, start: int, stop: int) -> Iterator[tuple[int, State]]:
    """Take the run's steps `start` to `stop` again: each step t and the state before it, and the last after them."""
    trainer = _Trainer(run.objective, run.workload, run.batches, run.step_sizes)
    for t in range(start, stop):
        yield t, state
        state = trainer.step(t, state)
    yield stop, state


class _Trainer:
    """The plain steps of one run, each a call of `sam_step` with gradients by eager autograd."""

    def __init__(self, objective: Objective, workload: Workload, batches: Tensor, step_sizes: Tensor) -> None:
        self.objective, self.workload, self.data = objective, workload, workload.splits.train
        self.rule, self.batches, self.step_sizes = workload.recipe.rule, batches, step_sizes.tolist()

    def step(self, t: int, state: State) -> State:
        row = self.batches[t]
        points = row[row >= 0].to(state.omega.device)
        batch = Batch(self.objective, self.workload.inputs(self.data.x[points], t), self.data.y[points])
        draw = self.rule.variant.draw(self.workload.drawn_by, t, state.omega)
        return sam_step(batch, state, self.step_sizes[t], self.rule, draw)


def _train(
    workload: Workload, objective: Objective, initial: Tensor, keep: Tensor, path: Path
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What is stored of a run: what it was and took, and its tensors."""
    recipe = workload.recipe
    batches = recipe.batches(len(workload.splits.train), workload.drawn_by)
    step_sizes = recipe.step_sizes()
    train, n_classes = workload.splits.train, workload.splits.n_classes
    prove(objective, train.x, train.y, n_classes, recipe.batch_size, initial)
    trainer = _Trainer(objective, workload, batches, step_sizes)
    kept = set(keep.tolist())
    state, first, before = first_state(initial, recipe.rule), 0, Timing(0.0, 0.0)
    states = _KeptStates(len(keep), state if recipe.momentum else state._replace(velocity=state.velocity[:0]))
    for name in _partials(path):
        if (stored := store.load(path, name)) is not None:
            meta, tensors = stored
            tensors = as_device(tensors, str(initial.device))
            first, before = meta["step"], Timing(meta["seconds"], meta["load"])
            state = State(*(tensors[name] for name in State._fields))
            states.take(tensors)
    watch, saved = Stopwatch(), time.perf_counter()
    for t in track(range(first, recipe.steps), f"training {workload.name}", done=first):
        if states.count and time.perf_counter() - saved > SAVE_SECONDS:
            saved = time.perf_counter()
            if not bool(torch.isfinite(state.omega).all()):
                break
            older = _partials(path)
            tensors = state._asdict() | states.so_far()
            store.save(path, f"partial-{t:09d}", {"step": t, **asdict(before + watch.read())}, tensors)
            for name in older:
                store.delete(path, name)
        if t in kept:
            states.add(state)
        state = trainer.step(t, state)
    lost = lost_from(objective, train, initial)
    if lost(state.omega):
        kept_states = list(zip(keep.tolist(), states.each(), strict=False))
        raise diverged(workload.name, recipe, kept_states, trainer.step, lost)
    prove_again(objective, train.x, train.y, recipe.batch_size, state.omega)
    tensors = {
        "parameters": state.omega,
        "batches": batches,
        "step_sizes": step_sizes,
        "checkpoint_steps": keep,
    }
    tensors |= states.so_far()
    meta = {"workload": _describe(workload), "environment": environment(), "ways": asdict(objective.network.ways)}
    return meta | asdict(before + watch.read()), tensors


KEPT = ("checkpoints", "velocities", "memories")
"""What kept states are stored as, in the order of `State`."""


class _KeptStates:
    """The states that a run keeps, in tensors that are made at once.

    Made one by one between the temporaries of the steps, they would leave holes in the heap that nothing fits into: a
    process that trained a CNN on MNIST grew by 4 MiB a step.
    """

    def __init__(self, count: int, like: State) -> None:
        self.count = 0
        self._rows = {name: part.new_empty(count, len(part)) for name, part in zip(KEPT, like, strict=True)}

    def add(self, state: State) -> None:
        for rows, part in zip(self._rows.values(), state, strict=True):
            rows[self.count] = part[: rows.shape[1]]
        self.count += 1

    def take(self, tensors: dict[str, Tensor]) -> None:
        """Begin with the rows that an earlier attempt has kept."""
        self.count = len(tensors[KEPT[0]])
        for name, rows in self._rows.items():
            rows[: self.count] = tensors[name]

    def each(self) -> Iterator[State]:
        """Those that there are so far."""
        for i in range(self.count):
            omega, velocity, memory = (rows[i] for rows in self._rows.values())
            yield State(omega, velocity if len(velocity) else torch.zeros_like(omega), memory)

    def so_far(self) -> dict[str, Tensor]:
        return {name: rows[: self.count] for name, rows in self._rows.items()}


def _partials(path: Path) -> list[str]:
    """The names of the unfinished states of a run, the latest last."""
    return sorted(file.stem for file in path.glob("partial-*.json"))


def _describe(workload: Workload) -> dict[str, str]:
    return {f.name: repr(getattr(workload, f.name)) for f in fields(workload)}
