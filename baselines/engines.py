"""Exact same-run retraining: the same initial parameters and batches, with some training points' weights at zero.

There are four engines, all over the one step function:

- `stacked`: networks that are chains of linear layers step together, layer by layer (`samattr_ref.network.stacked`);
- `compiled`: the same, a step compiled as a whole by `torch.compile`, which pays for long work;
- `batched`: any network, `torch.func.vmap` over the step;
- `loop`: one after another (on a CPU, batched convolutions lose to it).

A plan times steps of each and takes the fastest, with the number of networks that is fastest together. On a CPU,
`stacked` and `loop` use the cores by threads of one core each: their operations are too small to be divided.

A retraining is the run itself until a batch holds one of its points: it starts there, from the run's own state.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

import psutil
import torch
from torch import Tensor
from torch.func import vmap

from baselines.measure import seconds
from samattr_ref.network.linear_chain import Chain
from samattr_ref.run import Run
from samattr_ref.sam.step import Batch, StackedBatch, State, sam_step
from samattr_ref.sam.variants import Draw, Rule
from samattr_ref.support.errors import SamattrError, unknown_name
from samattr_ref.support.memory import chunks
from samattr_ref.trajectory import states

Engine = Literal["stacked", "compiled", "batched", "loop"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
THREADED = ("stacked", "loop")

Step = Callable[[Batch, State, float, Draw], State]
"""A step of m networks: the batch with weights [m, b], and their states before it, vectors [m, P]."""

LARGEST_CHUNK = 256
"""More retrainings at once gain little on a CPU."""

CHUNK_SECONDS = 10.0
"""About how long a chunk takes, which is written whole: what an interruption may cost."""

STACKS = (8, 32, 64, 128)
"""How many networks are tried together."""

LEVEL = 1.1
"""Fewer networks together are taken where more are hardly faster."""

COMPILE_SECONDS = 120.0
"""Work that would take this long is compiled, which itself takes some tens of seconds."""

MEMORY_SHARE, MEMORY_CAP = 0.25, 2**30
"""Retrainings that run together may take this share of the free memory, and no more than this many bytes."""

PROBE_STEPS, PROBES = 2, 2
"""An engine is timed over so many steps, so many times."""


@dataclass(frozen=True)
class Plan:
    """How retrainings are carried out.

    Attributes:
        engine: The engine.
        chunk: Retrainings that are written together.
        together: Retrainings that run as one program; it and the number of all decide every bit of the result.
        step_seconds: Measured seconds of a step, a retraining, by engine.
    """

    engine: Engine
    chunk: int
    together: int
    step_seconds: dict[str, float]


def plan_retraining(run: Run, n_groups: int, engine: Engine | None = None) -> Plan:
    """Time steps of each engine on the run and choose the fastest, its chunk, and how many networks run together.

    Args:
        run: The run.
        n_groups: How many retrainings there are.
        engine: The engine to take; None for the fastest.

    Raises:
        SamattrError: for an engine that there is not, or that the network or the machine does not have.
    """
    if engine is not None and engine not in ENGINES:
        raise unknown_name("engine", engine, ENGINES)
    most = max(1, min(LARGEST_CHUNK, n_groups, _memory_budget(run) // _bytes_a_retraining(run)))
    tried: list[Engine] = ["loop", *_together(run)]
    if engine is not None:
        tried = ["stacked" if engine == "compiled" else engine]
    found = {name: _fastest(run, name, most) for name in tried}
    chosen = min(tried, key=lambda name: found[name][0])
    seconds, together = found[chosen]
    if engine == "compiled" or (chosen == "stacked" and seconds * run.n_steps * n_groups > COMPILE_SECONDS):
        try:
            sizes = sorted({together, min(most, 2 * together)})  # a step as a whole has less to lose by many
            found["compiled"] = min((_seconds_a_step(run, "compiled", size), size) for size in sizes)
        except RuntimeError as error:  # no C++ compiler, above all
            if engine == "compiled":
                reason = str(error).strip().split("\n")[0]
                raise SamattrError(f"the step could not be compiled ({reason}): use the engine stacked") from error
        chosen = "compiled" if engine else min(found, key=lambda name: found[name][0])
        seconds, together = found[chosen]
    together = balanced(n_groups, together)
    in_time = int(CHUNK_SECONDS / (seconds * run.n_steps * together))  # whole programs: what runs together is fixed
    chunk = together * max(workers(run, chosen), min(in_time, LARGEST_CHUNK // together))
    return Plan(chosen, chunk, together, {name: seconds for name, (seconds, _) in found.items()})


def balanced(count: int, largest: int) -> int:
    """The chunk length that covers `count` in as few chunks as `largest` allows, evenly.

    >>> balanced(500, 256), balanced(500, 128)
    (250, 125)
    """
    n_chunks = -(-count // largest)
    return -(-count // n_chunks)


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
    step = _step_of(run, engine)

    def result(block: slice) -> Tensor:
        rows = weights[block]
        if engine == "compiled":  # once, for one number of networks
            rows = torch.cat([rows, rows.new_ones(size - len(rows), run.n_train)])
        after = _walk(run, step, rows, range(min(first[block]), run.n_steps))
        return after[: block.stop - block.start]

    with _mapping(run, engine) as each:
        return torch.cat(each(result, list(chunks(len(groups), size))))


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


def _together(run: Run) -> list[Engine]:
    """The engine that steps many networks together, if there is one for the network at hand."""
    if stacked_chain(run) is not None:
        return ["stacked"]
    return ["batched"] if run.objective.tried.networks else []


def _walk(run: Run, step: Step, weights: Tensor, steps: range) -> Tensor:
    """The parameters [m, P] after some steps of the run, its own state before them, with weights w [m, n_train]."""
    if len(steps) == 0:
        return run.parameters.expand(len(weights), -1)
    ((_, start),) = states(run, [steps.start])
    state = State(*(tensor.expand(len(weights), -1).contiguous() for tensor in start))
    for t in steps:
        points = run.batch(t).to(state.omega.device)
        x, y = (tensor.index_select(0, points) for tensor in (run.train.x, run.train.y))
        batch = Batch(run.objective, run.workload.inputs(x, t), y, weights.index_select(1, points))
        state = step(batch, state, run.etas[t], run.draw(t))
    return state.omega


def _step_of(run: Run, engine: Engine) -> Step:
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


def _fastest(run: Run, engine: Engine, most: int) -> tuple[float, int]:
    """The least seconds of a step, a retraining, and how many networks together take them."""
    sizes = {"loop": [1], "batched": [most]}.get(engine) or sorted({min(size, most) for size in STACKS})
    found = {size: _seconds_a_step(run, engine, size) for size in sizes}
    size = next(size for size in sizes if found[size] < LEVEL * min(found.values()))
    return found[size], size


def _seconds_a_step(run: Run, engine: Engine, together: int) -> float:
    """The least seconds of a step, a retraining, with work for all cores, after a step that warms up."""
    weights = torch.ones(together, run.n_train, dtype=run.parameters.dtype, device=run.parameters.device)
    step, blocks = _step_of(run, engine), range(workers(run, engine))

    def walk(steps: int) -> None:
        each(lambda _: _walk(run, step, weights, range(steps)), blocks)

    steps = min(PROBE_STEPS, run.n_steps)
    with _mapping(run, engine) as each:
        walk(1)
        return min(seconds(lambda: walk(steps)) for _ in range(PROBES)) / (steps * together * len(blocks))


def _bytes_a_retraining(run: Run) -> int:
    """What one retraining in a batched step holds, estimated from above: activations, gradients, parameters."""
    batch = run.batches.shape[1] * run.objective.activation_bytes(run.train.x)
    return 6 * batch + 10 * run.parameters.numel() * run.parameters.element_size()


def _memory_budget(run: Run) -> int:
    free = torch.cuda.mem_get_info()[0] if run.parameters.is_cuda else psutil.virtual_memory().available
    return int(min(MEMORY_SHARE * free, MEMORY_CAP if not run.parameters.is_cuda else free))
