"""How a network is trained: SAM with SGD, its steps, batches and step sizes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import torch

from samattr_ref.sam.variants import SAM, VARIANTS, Rule, Sam
from samattr_ref.support.errors import SamattrError, unknown_name
from samattr_ref.support.options import checked
from samattr_ref.support.seeds import stream

DECAYS = ("loss", "optimizer")


@checked
@dataclass(frozen=True)
class SamRecipe:
    """How a network is trained: SAM with SGD.

    Attributes:
        rho: Perturbation radius ρ >= 0; 0 is plain SGD.
        p: Order of the norm that bounds the perturbation, in [1, ∞].
        steps: Number of steps T.
        batch_size: Points a step; None takes all of them every step.
        learning_rate: Peak step size η.
        momentum: μ in [0, 1).
        weight_decay: λ >= 0 of the L2 term (λ/2)‖ω‖².
        decay: `"loss"`: the L2 term is a part of the loss, in both gradients of a step. `"optimizer"`: the perturbation
            is made of the data's gradient alone and the step adds λω, as torch.optim.SGD does beneath a user's SAM.
        schedule: `"constant"`, `"cosine"` (to zero) or `"linear"` (to zero).
        warmup: Steps of linear warm-up from zero, at most T.
        sampling: `"epochs"`: each epoch is a permutation of the points, cut into batches. `"replacement"`: each batch
            is a random subset of its own, so that some points are seen more rarely than others.
        variant: SAM or a variant of it, with its constants.
    """

    rho: float = 0.05
    p: float = 2.0
    steps: int = 400
    batch_size: int | None = 50
    learning_rate: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 1e-3
    schedule: str = "constant"
    warmup: int = 0
    sampling: str = "epochs"
    variant: Sam = SAM
    decay: str = field(default="loss", repr=False)  # kept ground truth is found by how a recipe is written

    def __post_init__(self) -> None:
        if not isinstance(self.variant, Sam):
            raise SamattrError(f"variant must be one of {', '.join(VARIANTS)} as an object, not {self.variant!r}")
        if self.decay not in DECAYS:
            raise unknown_name("place of weight decay", self.decay, DECAYS)
        Rule(self.rho, self.p, self.momentum, self.variant, float(self.decay == "optimizer"))
        if self.steps < 1 or (self.batch_size is not None and self.batch_size < 1):
            raise SamattrError(f"steps and batch_size must be at least 1, not {self.steps} and {self.batch_size}")
        if not (0 < self.learning_rate < math.inf and 0 <= self.momentum < 1 and 0 <= self.weight_decay < math.inf):
            raise SamattrError("learning_rate must be > 0, momentum in [0, 1) and weight_decay >= 0, and all finite")
        if self.warmup < 0:
            raise SamattrError(f"warmup must be at least 0, not {self.warmup}")
        if self.warmup > self.steps:
            raise SamattrError(
                f"warmup is {self.warmup} and the run has {self.steps} steps, none of which would take the whole "
                "learning rate: set warmup to the number of steps at most"
            )
        if self.schedule not in ("constant", "cosine", "linear"):
            raise unknown_name("schedule", self.schedule, ["constant", "cosine", "linear"])
        if self.sampling not in ("epochs", "replacement"):
            raise unknown_name("sampling", self.sampling, ["epochs", "replacement"])

    @cached_property
    def rule(self) -> Rule:
        """How a step perturbs and moves."""
        decay = self.weight_decay if self.decay == "optimizer" else 0.0
        return Rule(self.rho, self.p, self.momentum, self.variant, decay)

    def step_sizes(self) -> torch.Tensor:
        """η_t for t = 0..T−1, float64 [T]."""
        t = torch.arange(self.steps, dtype=torch.float64)
        progress = ((t - self.warmup) / max(1, self.steps - self.warmup)).clamp(min=0)
        factor = {
            "constant": torch.ones_like(t),
            "linear": 1 - progress,
            "cosine": (1 + torch.cos(math.pi * progress)) / 2,
        }[self.schedule]
        ramp = ((t + 1) / self.warmup).clamp(max=1) if self.warmup else torch.ones_like(t)
        return self.learning_rate * factor * ramp

    def batches(self, n: int, seed: int) -> torch.Tensor:
        """The points of every batch, int64 [T, B]; a short last batch of an epoch is padded with −1.

        Batches are drawn by index, from a stream of their own for each epoch (with `"replacement"`, for each batch):
        removing a point moves no other.
        """
        if self.batch_size is None or self.batch_size >= n:
            return torch.arange(n).expand(self.steps, n).contiguous()
        rows = self._subsets if self.sampling == "replacement" else self._epochs
        return torch.stack(list(rows(n, self.batch_size, seed)))

    def _subsets(self, n: int, size: int, seed: int) -> Iterator[torch.Tensor]:
        for t in range(self.steps):
            yield torch.randperm(n, generator=stream(seed, "batches with replacement", t))[:size]

    def _epochs(self, n: int, size: int, seed: int) -> Iterator[torch.Tensor]:
        for t in range(self.steps):
            epoch, position = divmod(t, math.ceil(n / size))
            if position == 0:
                order = torch.randperm(n, generator=stream(seed, "batches", epoch))
            row = order[position * size : (position + 1) * size]
            yield torch.nn.functional.pad(row, (0, size - len(row)), value=-1)
