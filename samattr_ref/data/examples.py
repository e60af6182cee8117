"""Labelled examples, label noise, and the four disjoint sets that a workload works on."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from samattr_ref.errors import SamattrError
from samattr_ref.seeds import stream, tensor_digest


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled examples; as queries, one query each, or pooled into a single one.

    Attributes:
        x: Inputs [b, ...], floating point and finite.
        y: Class indices [b], int64.
        pooled: Whether the examples stand for one query whose loss is the mean of theirs.

    Raises:
        SamattrError: if the shapes do not go together, the set is empty, or an input is not finite.
    """

    x: Tensor
    y: Tensor
    pooled: bool = False

    def __post_init__(self) -> None:
        if self.x.ndim < 2 or self.y.ndim != 1 or len(self.x) != len(self.y):
            shapes = f"{list(self.x.shape)} and {list(self.y.shape)}"
            raise SamattrError(f"examples need inputs [b, ...] and labels [b], not shapes {shapes}")
        if len(self.x) == 0:
            raise SamattrError("the set of examples is empty")
        if self.y.is_floating_point() or int(self.y.min()) < 0:
            raise SamattrError("labels must be class indices: whole numbers >= 0")
        bad = (~torch.isfinite(self.x)).flatten(1).any(1).nonzero()
        if len(bad):
            raise SamattrError(
                f"{len(bad)} of {len(self.x)} examples hold NaN or infinity, the first at index {int(bad[0])}"
            )

    def __len__(self) -> int:
        """The number of queries that the examples make."""
        return 1 if self.pooled else len(self.x)

    def pool(self) -> "Examples":
        """The same examples as one query: the mean of their losses."""
        return replace(self, pooled=True)

    def take(self, indices: Tensor | slice) -> "Examples":
        """The examples at those positions."""
        return Examples(self.x[indices], self.y[indices])

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Examples":
        """The examples on a device, the inputs in that dtype."""
        return Examples(self.x.to(device, dtype), self.y.to(device), self.pooled)


@dataclass(frozen=True)
class LabelNoise:
    """Wrong labels for some training points, each drawn evenly from the other classes.

    Attributes:
        fraction: Share of the training points, in [0, 1]; rounded to whole points.
        seed: Seed of the noise; None takes the workload's.
        indices: The training points to mislabel; None draws `fraction` of them.
    """

    fraction: float = 0.1
    seed: int | None = None
    indices: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 1:
            raise SamattrError(f"the label noise fraction must lie in [0, 1], not {self.fraction}")

    def apply(self, labels: Tensor, n_classes: int, seed: int) -> tuple[Tensor, Tensor]:
        """The noisy labels [n] and the mask [n] of the points whose label is wrong."""
        generator = stream(seed if self.seed is None else self.seed, "label noise")
        order = torch.randperm(len(labels), generator=generator)
        chosen = order[: round(self.fraction * len(labels))] if self.indices is None else torch.tensor(self.indices)
        if len(chosen) and not (int(chosen.min()) >= 0 and int(chosen.max()) < len(labels)):
            raise SamattrError(f"label noise names a training point outside 0..{len(labels) - 1}")
        shift = torch.randint(1, n_classes, (len(labels),), generator=generator)
        mask = torch.zeros(len(labels), dtype=torch.bool)
        mask[chosen] = True
        return torch.where(mask, (labels + shift) % n_classes, labels), mask


@dataclass(frozen=True, eq=False)
class Splits:
    """The disjoint sets of a workload.

    Attributes:
        train: Training points, labels noisy where the workload asks for it.
        queries: The queries that results are reported on.
        tuning: Held-out queries: damping and the like are chosen on them, never on `queries`.
        validation: The set that Influence Scores average over.
        noisy: Mask [n_train] of the training points with a wrong label.
        n_classes: Number of classes.
        clean: The right labels [n_train] of the training points, where they are known.
    """

    train: Examples
    queries: Examples
    tuning: Examples
    validation: Examples
    noisy: Tensor
    n_classes: int
    clean: Tensor | None = None

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what training depends on: the training points and the number of classes."""
        return tensor_digest(self.train.x, self.train.y, torch.tensor(self.n_classes))

    @property
    def whole_digest(self) -> str:
        """SHA-256 of all sets and labels."""
        sets = (self.train, self.queries, self.tuning, self.validation)
        clean = () if self.clean is None else (self.clean,)
        return tensor_digest(*(tensor for part in sets for tensor in (part.x, part.y)), self.noisy, *clean)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Splits":
        """The sets on a device, the inputs in that dtype."""
        sets = {name: getattr(self, name).to(device, dtype) for name in ("train", "queries", "tuning", "validation")}
        return replace(self, **sets)
