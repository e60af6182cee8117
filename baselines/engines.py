"""Exact same-run retraining: the same initial parameters and batches, with some training points' weights at zero.

There are four engines, all over the one step function:

- `stacked`: networks that are chains of linear layers step together, layer by layer (`samattr_ref.network.stacked`);
- `compiled`: the same, a step compiled as a whole by `torch.compile`, which pays for long work;
- `batched`: any network, `torch.func.vmap` over the step;
- `loop`: one after another (on a CPU, batched convolutions lose to it).

`baselines.planning` says which is taken and how many networks run together. On a CPU, `stacked` and `loop` use the
cores by threads of one core each: their operations are too small to be divided, and what they compute does not depend
on how many threads there are.

A retraining is the run itself until a batch holds one of its points: it starts there, from the run's own state.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.func import vmap

from samattr_ref.network.linear_chain import Chain
from samattr_ref.run import Run
from samattr_ref.sam.step import Batch, StackedBatch, State, sam_step
from samattr_ref.sam.variants import Draw, Rule
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.memory import chunks, in_chunks
from samattr_ref.support.timing import timed
from samattr_ref.trajectory import states

Engine = Literal["stacked", "compiled", "batched", "loop"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
THREADED = ("stacked", "loop")

Step = Callable[[Batch, State, float, Draw], State]
"""A step of m networks: the batch with weights [m, b], and their states before it, vectors [m, P]."""

PROBE_STEPS, PROBES = 2, 2
"""An engine is timed over so many steps, so many times."""


def retrain(run: Run, groups: Sequence[Tensor], engine: Engine = "batched", together: int | None = None) -> Tensor:
    """Final parameters of the same run without each group of points: [n_groups, P].

    Args:
        run: The run.
        groups: Index tensors of the points to remove together; an empty one gives the run itself.
        engine: See the module; all agree to rounding.
        together: How many networks run as one program; None for all of them. `loop` takes one.

    Raises:
        SamattrError: if the engine stacks and the network does not.
    """
    weights, first = removal_weights(run, groups), first_steps(run, groups)
    size = 1 if engine == "loop" else together or len(groups)
    step = step_of(run, engine)

    stop = threading.Event()

    def walked(rows: Tensor, start: int) -> Tensor:
        """Of all networks of a program, or where memory runs out of halves of them, one after another."""

        def walk(part: slice) -> Tensor:
            return _walk(run, step, rows[part], range(start, run.n_steps), stop)

        return torch.cat([after for _, after in in_chunks(walk, len(rows), len(rows))])

    def result(block: slice) -> Tensor:
        rows = weights[block]
        if engine == "compiled":  # once, for one number of networks
            rows = torch.cat([rows, rows.new_ones(size - len(rows), run.n_train)])
        return walked(rows, min(first[block]))[: block.stop - block.start]

    with _mapping(run, engine) as each:
        try:
            return torch.cat(each(result, list(chunks(len(groups), size))))
        finally:
            stop.set()  # what other threads are at is waited for, and an interruption should not take a whole run


def first_steps(run: Run, groups: Sequence[Tensor]) -> list[int]:
    """The step whose batch first holds a point of each group; 0 for an empty group, T for one that no batch holds."""
    seen = torch.full((run.n_train,), run.n_steps)
    for t in reversed(range(run.n_steps)):
        seen[run.batch(t)] = t
    return [int(seen[group].min()) if len(group) else 0 for group in groups]


def removal_weights(run: Run, groups: Sequence[Tensor]) -> Tensor:
    """w: 1 where a point is present, 0 where its group removes it, [n_groups, n_train]."""
    weights = torch.ones(len(groups), run.n_train, dtype=run.parameters.dtype, device=run.parameters.device)
    for row, group in zip(weights, groups, strict=True):
        row[group] = 0
    return weights


def stacked_chain(run: Run) -> Chain | None:
    """What steps retrainings of the run together; None where `vmap` has to."""
    if run.workload.recipe.variant.selects:  # points by their losses, which differ from network to network
        return None
    return run.objective.chain


def workers(run: Run, engine: Engine) -> int:
    """How many threads of one core each an engine works with; 1 where its operations take all cores."""
    by_threads = engine in THREADED and not run.parameters.is_cuda and run.objective.network.by_threads
    return torch.get_num_threads() if by_threads else 1


def _walk(run: Run, step: Step, weights: Tensor, steps: range, stop: threading.Event | None = None) -> Tensor:
    """The parameters [m, P] after some steps of the run, its own state before them, with weights w [m, n_train].

    Where it is told to stop, what it returns is of no use to anyone.
    """
    if len(steps) == 0:
        return run.parameters.expand(len(weights), -1)
    ((_, start),) = states(run, [steps.start])
    state = State(*(tensor.expand(len(weights), -1).contiguous() for tensor in start))
    for t in steps:
        if stop is not None and stop.is_set():
            break
        points = run.batch(t).to(state.omega.device)
        x, y = (tensor.index_select(0, points) for tensor in (run.train.x, run.train.y))
        batch = Batch(run.objective, run.workload.inputs(x, t), y, weights.index_select(1, points))
        state = step(batch, state, run.etas[t], run.draw(t))
    return state.omega


def step_of(run: Run, engine: Engine) -> Step:
    """The step function of an engine.

    Raises:
        SamattrError: if the network does not have it.
    """
    rule, chain = run.workload.recipe.rule, stacked_chain(run)
    if engine == "loop":
        return partial(_loop, rule)
    if engine == "batched":
        if not run.objective.tried.networks:
            raise SamattrError(f"torch.func.vmap cannot follow the network of {run.workload.name}: use the engine loop")
        return partial(_batched, rule)
    if chain is None:
        raise SamattrError(f"the network or the variant of {run.workload.name} does not stack: use the engine batched")
    return partial(_stacked, rule, chain) if engine == "stacked" else _compiled(run, chain)


def _loop(rule: Rule, batch: Batch, state: State, eta: float, draw: Draw) -> State:
    assert batch.weights is not None
    alone = replace(batch, weights=batch.weights[0])
    after = sam_step(alone, State(*(rows[0] for rows in state)), eta, rule, draw)
    return State(*(row[None] for row in after))


def _batched(rule: Rule, batch: Batch, state: State, eta: float, draw: Draw) -> State:
    def one(state: State, weights: Tensor) -> State:
        return sam_step(replace(batch, weights=weights, eager=False), state, eta, rule, draw)

    assert batch.weights is not None
    return vmap(one)(state, batch.weights)


def _stacked(rule: Rule, chain: Chain, batch: Batch, state: State, eta: float | Tensor, draw: Draw) -> State:
    together = StackedBatch(batch.objective, batch.x, batch.y, batch.weights, chain=chain)
    return sam_step(together, state, eta, rule, draw)


def _compiled(run: Run, chain: Chain) -> Step:
    """`_stacked`, compiled once a run for each shape of a batch: what changes from step to step comes in tensors."""
    if "compiled" not in run.cache:
        rule, objective = run.workload.recipe.rule, run.objective

        def whole(x: Tensor, y: Tensor, weights: Tensor, state: State, eta: Tensor, draw: Draw) -> State:
            return _stacked(rule, chain, Batch(objective, x, y, weights), state, eta, draw)

        torch.compiler.reset()  # of each function only so many shapes are kept, over all runs
        run.cache["compiled"] = torch.compile(whole, fullgraph=True, dynamic=False)
    compiled = run.cache["compiled"]

    def step(batch: Batch, state: State, eta: float, draw: Draw) -> State:
        after: State = compiled(batch.x, batch.y, batch.weights, state, state.omega.new_tensor(eta), draw)
        return after

    return step


@contextmanager
def _mapping(run: Run, engine: Engine) -> Iterator[Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]]:
    """What applies a function to items: by threads of one core each, or one after another with all cores."""
    count = workers(run, engine)
    if count == 1:
        yield lambda function, items: [function(item) for item in items]
        return
    pool = ThreadPoolExecutor(count)
    torch.set_num_threads(1)
    try:
        yield lambda function, items: list(pool.map(function, items))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(count)


def seconds_a_step(run: Run, engine: Engine, together: int) -> float:
    """The least measured seconds of a step, a retraining, with work for all cores, after a step that warms up."""
    weights = torch.ones(together, run.n_train, dtype=run.parameters.dtype, device=run.parameters.device)
    step, blocks = step_of(run, engine), range(workers(run, engine))

    def walk(steps: int) -> None:
        each(lambda _: _walk(run, step, weights, range(steps)), blocks)

    steps = min(PROBE_STEPS, run.n_steps)
    with _mapping(run, engine) as each:
        walk(1)
        least = min(timed(lambda: walk(steps), tries=1).seconds for _ in range(PROBES))
        return least / (steps * together * len(blocks))
