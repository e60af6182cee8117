"""A recorded run beside its replay: whether they are the same, and where and in what they first differ."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from samattr_ref.run import Run
from samattr_ref.support.errors import UnstableError
from samattr_ref.training import REPLAY_TOLERANCE
from samattr_ref.trajectory import states

STEP_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
"""How far a step may be from its replay, relative to its length."""

CARRIED = 10.0
"""What two runs are apart before a step they may be apart so many times as much by it."""

ROUNDING = 64.0
"""Parameters are rounded to so many units in the last place of their norm."""


@dataclass(frozen=True, eq=False)
class _Pair:
    """The state before a step as it was recorded and as it was taken again, float64 [P] each."""

    step: int
    recorded: Tensor
    replayed: Tensor

    @property
    def apart(self) -> float:
        return float((self.recorded - self.replayed).norm())


def _pairs(run: Run, recorded: Sequence[tuple[int, Tensor]]) -> Iterator[_Pair]:
    """The recorded states beside the run's own, the last beside its end."""
    *before, (last, end) = recorded
    for (t, omega), (_, state) in zip(before, states(run, [t for t, _ in before]), strict=True):
        yield _Pair(t, omega.double(), state.omega.cpu().double())
    yield _Pair(last, end.double(), run.parameters.cpu().double())


def compared(run: Run, recorded: Sequence[tuple[int, Tensor]]) -> dict[str, float]:
    """How far a run is from what was recorded of it, see `samattr_ref.recorder.Recorder.run`.

    A step is the same if it leaves recording and replay no farther apart than rounding can: within a share of its
    length, a multiple of what they were apart before, and rounding itself. So a step that does something else is seen
    where it stands, however short it is; and what rounding comes to over the run is bounded as in retraining.

    Args:
        run: The run, of the recorded steps.
        recorded: States ω_t [P] before steps t, ascending from 0, the one after the last step last.

    Raises:
        UnstableError: if it is another run, saying where it is first.
    """
    dtype = run.parameters.dtype
    rounding, before = ROUNDING * torch.finfo(dtype).eps, None
    largest, end = 0.0, 0.0
    for pair in _pairs(run, recorded):
        size = float(pair.replayed.norm())
        if before is not None:
            own, again = pair.recorded - before.recorded, pair.replayed - before.replayed
            allowed = STEP_TOLERANCE[dtype] * float(again.norm()) + CARRIED * before.apart + rounding * size
            if not float((own - again).norm()) <= allowed:
                raise UnstableError(_difference(run, before.step, pair.step, own, again))
        end = pair.apart / max(size, torch.finfo(dtype).tiny)
        largest = max(largest, end)
        if not end <= REPLAY_TOLERANCE[dtype]:
            raise UnstableError(
                f"the recorded loop is {end:.1e} (relative) from its replay by step {pair.step} of {run.n_steps}, "
                "though each step alone is the same: rounding grows in it, or a setting is slightly another; lower the "
                "step size, or train in float64"
            )
        before = pair
    return {"largest": largest, "end": end, "states": len(recorded)}


PARALLEL = 1e-6
"""Changes whose cosine is so near 1 differ in length alone."""

LENGTH = "a step size that changes elsewhere, clipped gradients, Nesterov momentum, a loss that is no mean"
RULE = (
    "another rho, p or variant, weight decay in the loss or of other size (decay, weight_decay), other points in the "
    "batch, inputs that are augmented, dropout or batch statistics, a smoothed loss, clipped gradients, lower "
    "precision, momentum of steps before the first recorded one"
)
LATER = "other points in the batch, another momentum, a step size that changes elsewhere"


def _difference(run: Run, start: int, stop: int, own: Tensor, again: Tensor) -> str:
    """What is said of a step that is another than its replay, from its recorded change and its own, [P] each."""
    length, replayed = float(own.norm()), float(again.norm())
    where = f"at step {start}" if stop == start + 1 else f"between the steps {start} and {stop}"
    if not math.isfinite(length):
        return f"the recorded loop leaves its replay {where} of {run.n_steps}: it holds NaN or infinity there"
    ratio = length / replayed if replayed else math.inf
    cosine = float(own @ again) / (length * replayed) if length and replayed else 0.0
    likely = LENGTH if cosine > 1 - PARALLEL else RULE if start == 0 else f"{LATER}; or {RULE}"
    return (
        f"the recorded loop leaves its replay {where} of {run.n_steps}: its change is {ratio:.4g} times as long as the "
        f"replayed one, their cosine {cosine:.6f}; likely: {likely}"
    )
