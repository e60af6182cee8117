"""Exact same-run retraining: the same initial parameters and batches, with some training points' weights at zero.

Many retrainings run as one batched program, `torch.func.vmap` over the one step function, or one after another; the
engine times a step of each kind and takes the faster (on a CPU, batched convolutions can lose to the loop).
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import psutil
import torch
from torch import Tensor

from samattr_ref.run import Run
from samattr_ref.step import Batch, State, first_state, sam_step
from samattr_ref.trajectory import last
from samattr_ref.variants import Draw, Rule

Engine = Literal["batched", "loop"]

LARGEST_CHUNK = 256
"""More retrainings at once gain little on a CPU, and a chunk is what an interruption can cost."""

MEMORY_SHARE, MEMORY_CAP = 0.25, 2**30
"""A chunk may take this share of the free memory, and no more than this many bytes."""

PROBE_STEPS = 3


@dataclass(frozen=True)
class Plan:
    """How retrainings are carried out.

    Attributes:
        engine: `batched` or `loop`.
        chunk: Retrainings that run, and are written, together.
        batched_step_s: Measured seconds of a batched step, a retraining.
        loop_step_s: Measured seconds of a looped step, a retraining.
    """

    engine: Engine
    chunk: int
    batched_step_s: float
    loop_step_s: float


def plan_retraining(run: Run, n_groups: int) -> Plan:
    """Time one batched and one looped step of the run and choose the engine and the chunk, sized from free memory."""
    chunk = balanced(n_groups, max(1, min(LARGEST_CHUNK, _memory_budget(run) // _bytes_a_retraining(run))))
    weights = torch.ones(chunk, run.n_train, dtype=run.parameters.dtype, device=run.parameters.device)
    batched = _seconds_a_step(run, "batched", weights) / chunk
    loop = _seconds_a_step(run, "loop", weights[:1])
    engine: Engine = "batched" if batched <= loop else "loop"
    # a looped chunk only sets how often results are written
    return Plan(engine, chunk if engine == "batched" else balanced(n_groups, min(chunk, 8)), batched, loop)


def balanced(count: int, largest: int) -> int:
    """The chunk length that covers `count` in as few chunks as `largest` allows, evenly.

    >>> balanced(500, 256), balanced(500, 128)
    (250, 125)
    """
    n_chunks = -(-count // largest)
    return -(-count // n_chunks)


def retrain(run: Run, groups: Sequence[Tensor], engine: Engine = "batched") -> Tensor:
    """Final parameters of the same run without each group of points: [n_groups, P].

    Args:
        run: The run.
        groups: Index tensors of the points to remove together; an empty one gives the run itself.
        engine: `batched` runs all groups in one program, `loop` one after another. They agree to rounding.
    """
    weights = removal_weights(run, groups)
    if engine == "loop":
        return torch.cat([_retrain(run, "loop", row[None]) for row in weights])
    return _retrain(run, "batched", weights)


def removal_weights(run: Run, groups: Sequence[Tensor]) -> Tensor:
    """w: 1 where a point is present, 0 where its group removes it, [n_groups, n_train]."""
    weights = torch.ones(len(groups), run.n_train, dtype=run.parameters.dtype, device=run.parameters.device)
    for row, group in zip(weights, groups, strict=True):
        row[group] = 0
    return weights


def _retrain(run: Run, engine: Engine, weights: Tensor) -> Tensor:
    return last(_states(run, engine, weights, range(run.n_steps)))


def _states(run: Run, engine: Engine, weights: Tensor, steps: range) -> Iterator[Tensor]:
    """The stacked parameters [n_groups, P] after each of the steps, from ω_0 on."""
    rule, eager = run.workload.recipe.rule, engine == "loop"
    state = first_state(run.checkpoints[0].expand(len(weights), -1).contiguous(), rule)
    for t in steps:
        points = run.batch(t).to(state.omega.device)
        batch = Batch(run.objective, run.train.x[points], run.train.y[points], eager=eager)
        step = partial(_step, batch, run.etas[t], rule, run.draw(t))
        if eager:
            after = step(State(*(tensor[0] for tensor in state)), weights[0, points])
            state = State(*(tensor[None] for tensor in after))
        else:
            state = torch.func.vmap(step)(state, weights[:, points])
        yield state.omega


def _step(batch: Batch, eta: float, rule: Rule, draw: Draw, state: State, weights: Tensor) -> State:
    """`sam_step` of one retraining, with its weights [b] of the batch's points."""
    return sam_step(replace(batch, weights=weights), state, eta, rule, draw)


def _seconds_a_step(run: Run, engine: Engine, weights: Tensor) -> float:
    """The fastest of a few steps after one that warms up."""
    seconds = []
    began = time.perf_counter()
    for _ in _states(run, engine, weights, range(min(run.n_steps, PROBE_STEPS + 1))):
        if run.parameters.is_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
    return min(seconds[1:] or seconds)


def _bytes_a_retraining(run: Run) -> int:
    """What one retraining in a batched step holds, estimated from above: activations, gradients, parameters."""
    batch = run.batches.shape[1] * run.objective.activation_bytes(run.train.x)
    return 6 * batch + 10 * run.parameters.numel() * run.parameters.element_size()


def _memory_budget(run: Run) -> int:
    free = torch.cuda.mem_get_info()[0] if run.parameters.is_cuda else psutil.virtual_memory().available
    return int(min(MEMORY_SHARE * free, MEMORY_CAP if not run.parameters.is_cuda else free))
