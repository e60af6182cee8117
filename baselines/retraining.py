"""Exact same-run retraining: the same initial parameters and batches, with some training points' weights at zero.

Many retrainings run as one batched program, `torch.func.vmap` over the one step function, or one after another; the
engine times a step of each kind and takes the faster (on a CPU, batched convolutions can lose to the loop).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import psutil
import torch
from torch import Tensor

from samattr_ref.run import Run
from samattr_ref.sam import sam_step
from samattr_ref.trajectory import last

Engine = Literal["batched", "loop"]
State = tuple[Tensor, Tensor]
Step = Callable[..., State]

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
    step = _step(run, engine)
    omega = run.checkpoints[0].expand(len(weights), -1).contiguous()
    velocity = torch.zeros_like(omega)
    for t in steps:
        batch = run.batch(t).to(omega.device)
        omega, velocity = step(
            omega, velocity, run.train.x[batch], run.train.y[batch], weights[:, batch], float(run.step_sizes[t])
        )
        yield omega


def _step(run: Run, engine: Engine) -> Step:
    """`sam_step` on stacked states: batched by `vmap`, or for a single state by eager autograd."""
    objective, recipe = run.objective, run.workload.recipe
    gradient = objective.gradient if engine == "batched" else objective.eager_gradient

    def step(omega: Tensor, velocity: Tensor, x: Tensor, y: Tensor, weights: Tensor, eta: float) -> State:
        return sam_step(
            lambda w: gradient(w, x, y, weights), omega, velocity, eta, recipe.rho, recipe.p, recipe.momentum
        )

    if engine == "batched":
        return torch.func.vmap(step, in_dims=(0, 0, None, None, 0, None))

    def single(omega: Tensor, velocity: Tensor, x: Tensor, y: Tensor, weights: Tensor, eta: float) -> State:
        omega, velocity = step(omega[0], velocity[0], x, y, weights[0], eta)
        return omega[None], velocity[None]

    return single


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
