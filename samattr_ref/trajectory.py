"""The states of a run, and the run cut into segments: what trajectory methods sum over."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from samattr_ref.run import Run
from samattr_ref.training import advance, segment_bounds

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Segment:
    """A part of the run for which one state stands.

    Attributes:
        step: The step t whose state ω_t stands for it.
        omega: ω_t, shape [P].
        points: The training points that took part, int64 [m].
        weights: Their weight Σ_t η_t B_{k,t} / |b_t| over the segment, shape [m].
    """

    step: int
    omega: Tensor
    points: Tensor
    weights: Tensor


def states(run: Run, steps: Iterable[int]) -> Iterator[tuple[int, Tensor]]:
    """ω_t for ascending steps t: from the run's checkpoints, or recomputed from the nearest one before, bit for bit."""
    kept = run.checkpoint_steps.tolist()
    position, current = -1, (-1, run.checkpoints[0], run.checkpoints[0])
    for t in steps:
        if t == run.n_steps:
            yield t, run.parameters
            continue
        while position + 1 < len(kept) and kept[position + 1] <= t:
            position += 1
            if kept[position] > current[0]:
                omega = run.checkpoints[position]
                has_velocity = run.velocities.shape[1] > 0
                velocity = run.velocities[position] if has_velocity else torch.zeros_like(omega)
                current = (kept[position], omega, velocity)
        if current[0] < t:
            current = last(advance(run, current[1], current[2], current[0], t))
        yield t, current[1]


def last(items: Iterable[T]) -> T:
    """The last of some items, the others let go one by one."""
    return deque(items, maxlen=1).pop()


def effective_step_sizes(run: Run) -> Tensor:
    """η̃_t = Σ_{s ≥ t} η_s μ^{s−t}, float64 [T]: how far step t's gradient moves ω_T through the momentum buffer.

    Without momentum it is η_t.
    """
    momentum = run.workload.recipe.momentum
    effective = run.step_sizes.clone()
    for t in range(len(effective) - 2, -1, -1):
        effective[t] += momentum * effective[t + 1]
    return effective


def segments(run: Run, checkpoints: int | None, step_sizes: Tensor) -> Iterator[Segment]:
    """The run cut into segments: one a step where `checkpoints` is None, else C nearly equal ones.

    Args:
        run: The run.
        checkpoints: C in 1..T; the state in the middle of each segment stands for it.
        step_sizes: The step sizes [T] that weights are made of.

    Raises:
        SamattrError: if C is larger than the number of steps.
    """
    bounds = segment_bounds(run.n_steps if checkpoints is None else checkpoints, run.n_steps)
    middles = [(start + stop - 1) // 2 for start, stop in bounds]
    for (start, stop), (t, omega) in zip(bounds, states(run, middles), strict=True):
        weights = torch.zeros(run.n_train, dtype=torch.float64)
        for step in range(start, stop):
            batch = run.batch(step)
            weights[batch] += step_sizes[step] / len(batch)
        points = weights.nonzero()[:, 0]
        yield Segment(t, omega, points.to(omega.device), weights[points].to(omega))


def trajectory_change(run: Run, groups: Sequence[Tensor], parts: Iterable[tuple[Segment, Tensor]]) -> Tensor:
    """Σ_t weight_{k,t} ∇ℓ_k(ω'_t), summed over the points k of each group: [n_groups, P].

    Args:
        run: The run.
        groups: The points of each group.
        parts: Each segment of the run with the parameters ω'_t that its gradients are taken at.
    """
    members = torch.zeros(len(groups), run.n_train, dtype=run.parameters.dtype, device=run.parameters.device)
    for row, group in zip(members, groups, strict=True):
        row[group] = 1
    change = torch.zeros(len(groups), len(run.parameters)).to(run.parameters)
    for segment, omega in parts:
        share = members[:, segment.points] * segment.weights
        taking_part = share.any(0)
        points = segment.points[taking_part]
        if len(points):
            x, y = run.train.x[points], run.train.y[points]
            change += run.objective.weighted_gradients(omega, x, y, share[:, taking_part])
    return change
