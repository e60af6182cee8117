"""The states of a run, and the run cut into segments: what trajectory methods sum over."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from samattr_ref.network.sample_gradients import SampleGradients
from samattr_ref.run import Run
from samattr_ref.sam.step import State
from samattr_ref.support.errors import SamattrError
from samattr_ref.training import advance, segment_bounds

T = TypeVar("T")
At = tuple[int, State]
"""A step t with the state before it."""


@dataclass(frozen=True, eq=False)
class Segment:
    """A part of the run for which one state stands.

    Attributes:
        step: The step t whose state ω_t stands for it.
        state: The state before it; its ω_t stands for the segment.
        points: The training points that took part, int64 [m].
        weights: Their weight Σ_t η_t B_{k,t} / |b_t| over the segment, shape [m].
    """

    step: int
    state: State
    points: Tensor
    weights: Tensor

    @property
    def omega(self) -> Tensor:
        """ω_t, [P]."""
        return self.state.omega


def states(run: Run, steps: Iterable[int]) -> Iterator[At]:
    """The states before ascending steps t < T: those of the run, or recomputed from the nearest before, bit for bit."""
    kept = run.checkpoint_steps.tolist()
    position, current = 0, (0, run.kept_state(0))
    for t in steps:
        while position + 1 < len(kept) and kept[position + 1] <= t:
            position += 1
            if kept[position] > current[0]:
                current = (kept[position], run.kept_state(position))
        if current[0] < t:
            current = last(advance(run, current[1], current[0], t))
        yield current


def reversed_states(run: Run, first: int = 0, memory_bytes: int | None = None) -> Iterator[At]:
    """The states before the steps T − 1 down to `first`: what the run keeps, the rest recomputed, bit for bit.

    Between two kept states the run is taken again and held; where that would take more than `memory_bytes`, half of
    what may be held goes to evenly spaced states and the rest to the parts between them, each cut again in its turn.

    Args:
        run: The run.
        first: The last step to give.
        memory_bytes: What may be held beside the states that the run keeps; None for as much as it takes.

    Raises:
        SamattrError: if the bound is smaller than a single state.
    """
    kept = run.checkpoint_steps.tolist()
    kept_tensors = (run.checkpoints, run.velocities, run.memories)
    state_bytes = sum(tensor[0].numel() * tensor.element_size() for tensor in kept_tensors)
    held = run.n_steps if memory_bytes is None else memory_bytes // state_bytes
    if held < 1:
        raise SamattrError(f"memory_bytes must hold at least one state of the run, {state_bytes} bytes")
    stop = run.n_steps
    for i in reversed(range(len(kept))):
        yield from _reversed(run, (kept[i], run.kept_state(i)), max(first, kept[i]), stop, held)
        stop = kept[i]
        if stop <= first:
            return


def _reversed(run: Run, at: At, first: int, stop: int, held: int) -> Iterator[At]:
    """The states before the steps `stop` − 1 down to `first`, from that at a step <= `first`."""
    start, state = at
    if stop - start == 1:
        yield at
    elif stop - start <= held:
        yield from reversed(list(advance(run, state, start, stop - 1))[first - start :])
    elif held == 1:
        for t in reversed(range(first, stop)):
            yield last(advance(run, state, start, t))
    else:
        cuts = held // 2
        steps = [start + (i * (stop - start)) // (cuts + 1) for i in range(1, cuts + 1)]
        cut_at = [found for found in advance(run, state, start, steps[-1]) if found[0] in set(steps)]
        for cut in reversed([at, *cut_at]):
            if cut[0] < stop and stop > first:
                yield from _reversed(run, cut, max(first, cut[0]), stop, held - cuts)
            stop = cut[0]


def last(items: Iterable[T]) -> T:
    """The last of some items, the others let go one by one."""
    return deque(items, maxlen=1).pop()


def effective_step_sizes(run: Run) -> Tensor:
    """η̃_t = Σ_{s ≥ t} η_s μ^{s−t}, float64 [T]: how far step t's gradient moves ω_T through the momentum buffer.

    Without momentum it is η_t. Where a step stands for many, through the buffer each moves ω_T by 1/(1 − μ).
    """
    momentum = run.workload.recipe.momentum
    if not run.stepwise:
        return run.step_sizes[: most_segments(run)] / (1 - momentum)
    effective = run.step_sizes.clone()
    for t in range(len(effective) - 2, -1, -1):
        effective[t] += momentum * effective[t + 1]
    return effective


def most_segments(run: Run) -> int:
    """How many segments a run may be cut into: its steps, or the checkpoints that are known in their place.

    Raises:
        TrajectoryError: if neither is known.
    """
    return len(run.step_sizes) or run.n_steps


def segments(run: Run, checkpoints: int | None, step_sizes: Tensor) -> Iterator[Segment]:
    """The run cut into segments: one a step where `checkpoints` is None, else C nearly equal ones.

    Of a run whose batches are not known, every point is taken to have had its equal share of every step.

    Args:
        run: The run.
        checkpoints: C in 1..T; the state in the middle of each segment stands for it.
        step_sizes: The step sizes [T] that weights are made of.

    Raises:
        SamattrError: if C is larger than the number of steps.
    """
    most = run.n_steps if checkpoints is None else most_segments(run)
    bounds = segment_bounds(most if checkpoints is None else checkpoints, most)
    middles = [(start + stop - 1) // 2 for start, stop in bounds]
    for (start, stop), (t, state) in zip(bounds, states(run, middles), strict=True):
        weights = torch.zeros(run.n_train, dtype=torch.float64)
        if not run.stepwise:
            weights += step_sizes[start:stop].sum() / run.n_train
        for step in range(start, stop) if run.stepwise else ():
            batch = run.batch(step)
            weights[batch] += step_sizes[step] / len(batch)
        points = weights.nonzero()[:, 0]
        omega = state.omega
        yield Segment(t, state, points.to(omega.device), weights[points].to(omega))


def add_products(
    run: Run, values: Tensor, segment: Segment, omega: Tensor, directions: Tensor | SampleGradients
) -> None:
    """Add weight_k ⟨∇ℓ_k(ω'), v_j⟩ of the segment's points k to values [n_train, m], a chunk of points at a time.

    Args:
        run: The run.
        values: What is added to.
        segment: The segment.
        omega: ω', where the points' gradients are taken, [P].
        directions: v_j, see `Objective.gradient_products`.
    """
    points, train = segment.points, run.train
    for part, products in run.objective.product_chunks(omega, train.x, train.y, directions, points):
        values.index_add_(0, points[part], products * segment.weights[part, None])


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
        change += run.objective.weighted_gradients(omega, run.train.x, run.train.y, share, segment.points)
    return change
