"""How many points each set gets, and the sets drawn by a seed."""

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from samattr_ref.data.examples import Examples, LabelNoise, Splits
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.options import checked
from samattr_ref.support.seeds import stream


class DataSource(Protocol):
    """What a workload needs of its data: any frozen dataclass with this method will do."""

    def load(self, seed: int) -> Splits:
        """The sets for that seed."""


@checked
@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many points each set gets, drawn without overlap by the workload's seed.

    Attributes:
        n_train: Training points.
        n_query: Queries that are reported on.
        n_tuning: Held-out queries for choosing hyper-parameters.
        n_validation: Validation points.
        noise: Label noise on the training points, or None; a number stands for noise of that fraction.
    """

    n_train: int = 500
    n_query: int = 100
    n_tuning: int = 30
    n_validation: int = 300
    noise: LabelNoise | None = field(default_factory=LabelNoise)

    def __post_init__(self) -> None:
        if isinstance(self.noise, int | float):
            object.__setattr__(self, "noise", LabelNoise(self.noise))
        elif not isinstance(self.noise, LabelNoise | None):
            raise SamattrError(f"noise must be a fraction, a LabelNoise or None, not {self.noise!r}")
        for name in ("n_train", "n_query", "n_tuning", "n_validation"):
            if getattr(self, name) < 1:
                raise SamattrError(f"{name} must be at least 1, not {getattr(self, name)}")

    def draw(self, train: int, held_out: int | None, seed: int) -> tuple[list[Tensor], list[Tensor]]:
        """Index sets for training and for queries, tuning, validation.

        Args:
            train: Number of points that training may come from.
            held_out: Number of points of a separate test set, or None if all sets share one pool.
            seed: The workload's seed.
        """
        others = [self.n_query, self.n_tuning, self.n_validation]
        needed_train = self.n_train + (sum(others) if held_out is None else 0)
        if needed_train > train or (held_out is not None and sum(others) > held_out):
            have = f"{train}" if held_out is None else f"{train} and {held_out}"
            raise SamattrError(f"the data has {have} points, fewer than the sizes asked for: {self}")
        order = torch.randperm(train, generator=stream(seed, "split", "train"))
        if held_out is None:
            parts = list(order[:needed_train].split([self.n_train, *others]))
            return parts[:1], parts[1:]
        rest = torch.randperm(held_out, generator=stream(seed, "split", "held out"))
        return [order[: self.n_train]], list(rest[: sum(others)].split(others))


def make_splits(sizes: Sizes, examples: list[Examples], n_classes: int, seed: int) -> Splits:
    """The sets from their examples in the order train, queries, tuning, validation, with the label noise applied."""
    train, queries, tuning, validation = examples
    noisy, clean = torch.zeros(len(train), dtype=torch.bool), train.y
    if sizes.noise is not None:
        if train.y.is_floating_point() or train.y.ndim > 1:
            raise SamattrError("label noise draws wrong classes, and the targets are none: set noise to None")
        labels, noisy = sizes.noise.apply(train.y, n_classes, seed)
        train = Examples(train.x, labels)
    return Splits(train, queries, tuning, validation, noisy, n_classes, clean)
