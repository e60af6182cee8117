"""Labelled examples, label noise, and the four disjoint sets that a workload works on."""

from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from samattr_ref.network.functionals import LOSS, Functional, get_functional
from samattr_ref.network.losses import described
from samattr_ref.support.errors import SamattrError, first_line
from samattr_ref.support.foreign import foreign
from samattr_ref.support.options import checked
from samattr_ref.support.seeds import checked_seed, stream, tensor_digest


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled examples; as queries, one query each, or pooled into a single one.

    Arrays and lists are made tensors.

    Attributes:
        x: Inputs [b, ...]: floating point and finite; pixels as uint8 or bool, which `to` makes floating point; or
            other whole numbers, as int64, which stay what they are for networks that embed them.
        y: Class indices [b], as int64 whatever integers or bools they are given as; or what else a loss takes: numbers
            [b] or [b, k], floating point and finite, or tokens [b, s].
        pooled: Whether the examples stand for one query whose loss is the mean of theirs.
        functional: What of them is attributed where they are queries, see `of`: their loss.

    Raises:
        SamattrError: if the shapes do not go together, the set is empty, an input is not finite, a class
            index is negative, or the functional is none.
    """

    x: Tensor
    y: Tensor
    pooled: bool = False
    functional: Functional = LOSS

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", _inputs(self.x))
        object.__setattr__(self, "y", _labels(self.y))
        if self.x.ndim < 2 or self.y.ndim < 1 or len(self.x) != len(self.y):
            shapes = f"{list(self.x.shape)} and {list(self.y.shape)}"
            raise SamattrError(f"examples need inputs [b, ...] and labels [b], not shapes {shapes}")
        if not isinstance(self.functional, Functional):
            raise SamattrError(f"functional must be a Functional, not {self.functional!r}: use examples.of('margin')")
        if len(self.x) == 0:
            raise SamattrError("the set of examples is empty")
        if not self.y.is_floating_point() and int(self.y.min()) < 0:
            raise SamattrError("labels must be class indices: whole numbers >= 0")
        bad = ~torch.isfinite(self.x).flatten(1).all(1) | ~torch.isfinite(self.y.view(len(self.y), -1)).all(1)
        bad = bad.nonzero()
        if len(bad):
            raise SamattrError(
                f"{len(bad)} of {len(self.x)} examples hold NaN or infinity, the first at index {int(bad[0])}"
            )

    def __len__(self) -> int:
        """The number of queries that the examples make."""
        return 1 if self.pooled else len(self.x)

    def pool(self) -> "Examples":
        """The same examples as one query: the mean of their losses, or of what else is asked of them."""
        return replace(self, pooled=True)

    def of(self, functional: str) -> "Examples":
        """The same examples, asked for another number of each: `loss`, `margin` or `logit`.

        See `samattr_ref.network.functionals`, also for what the sign of a score then means.

        Raises:
            SamattrError: for a name that is none of them.
        """
        return replace(self, functional=get_functional(functional))

    def take(self, indices: Tensor | slice) -> "Examples":
        """The examples at those positions, each by itself."""
        return Examples(self.x[indices], self.y[indices], functional=self.functional)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Examples":
        """The examples on a device, the inputs in that dtype unless they are whole numbers to embed."""
        x = self.x.to(device) if self.x.dtype == torch.int64 else self.x.to(device, dtype)
        y = self.y.to(device, dtype) if self.y.is_floating_point() else self.y.to(device)
        return Examples(x, y, self.pooled, self.functional)

    @property
    def n_outputs(self) -> int:
        """The outputs that a network needs for them: one a number of a target, else one a class that is there."""
        if self.y.is_floating_point():
            return self.y[0].numel()
        return max(2, int(self.y.max()) + 1)


def examples_of(data: Any, what: str) -> Examples:
    """Examples from what a user has: `Examples`, inputs with labels, or a map-style dataset of such pairs.

    Raises:
        SamattrError: if it is none of these, or `Examples` refuses it.
    """
    if isinstance(data, Examples):
        return data
    if isinstance(data, tuple | list) and len(data) == 2:
        return Examples(*data)
    if not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        raise SamattrError(f"{what} must be Examples, a pair (inputs, labels) or a dataset, not {type(data).__name__}")
    with foreign(f"{what} cannot be read as pairs (input, label)"):
        inputs, labels = zip(*(data[i] for i in range(len(data))), strict=True)
        stacked = torch.stack([torch.as_tensor(x) for x in inputs])
        return Examples(stacked, torch.stack([torch.as_tensor(y) for y in labels]))


def _tensor(values: Any, what: str) -> Tensor:
    """What a user gives as a dense tensor of numbers."""
    try:
        tensor = torch.as_tensor(values)
    except Exception as error:  # whatever objects that are no numbers raise
        raise SamattrError(f"{what} must be a tensor, an array or lists of numbers: {first_line(error)}") from error
    if tensor.layout != torch.strided or tensor.is_nested:
        raise SamattrError(f"{what} must be one dense tensor: call to_dense() on a sparse one")
    if tensor.is_complex():
        raise SamattrError(f"{what} must be real numbers, not {described(tensor)}")
    return tensor


def _inputs(values: Any) -> Tensor:
    """Inputs in a dtype that computations take: pixels as they are, other whole numbers as int64."""
    x = _tensor(values, "inputs")
    return x if x.is_floating_point() or x.dtype in (torch.uint8, torch.bool) else x.to(torch.int64)


def _labels(values: Any) -> Tensor:
    """Class indices and tokens as int64, numbers as they are."""
    y = _tensor(values, "labels")
    return y if y.is_floating_point() else y.to(torch.int64)


@checked
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
        object.__setattr__(self, "seed", checked_seed("the seed of label noise", self.seed))

    def apply(self, labels: Tensor, n_classes: int, seed: int) -> tuple[Tensor, Tensor]:
        """The noisy labels [n] and the mask [n] of the points whose label is wrong.

        Raises:
            SamattrError: if a point is named that is not there, or there is no other class.
        """
        if n_classes < 2:
            raise SamattrError(
                f"label noise needs another class to draw from, and there is {n_classes}: set noise to None"
            )
        generator = stream(seed if self.seed is None else self.seed, "label noise")
        order = torch.randperm(len(labels), generator=generator)
        chosen = order[: round(self.fraction * len(labels))]
        if self.indices is not None:
            chosen = torch.tensor(self.indices, dtype=torch.int64)
        if len(chosen) and not (int(chosen.min()) >= 0 and int(chosen.max()) < len(labels)):
            raise SamattrError(f"label noise names a training point outside 0..{len(labels) - 1}")
        shift = torch.randint(1, n_classes, (len(labels),), generator=generator)
        mask = torch.zeros(len(labels), dtype=torch.bool)
        mask[chosen] = True
        return torch.where(mask, (labels + shift) % n_classes, labels), mask


SETS = ("train", "queries", "tuning", "validation")
"""The sets of a workload, in this order wherever they are listed."""


@dataclass(frozen=True, eq=False)
class Splits:
    """The disjoint sets of a workload.

    Attributes:
        train: Training points, labels noisy where the workload asks for it.
        queries: The queries that results are reported on.
        tuning: Held-out queries: damping and the like are chosen on them, never on `queries`.
        validation: The set that Influence Scores average over.
        noisy: Mask [n_train] of the training points with a wrong label.
        n_classes: Number of classes, at least 2; of the numbers that a target is, where it is numbers.
        clean: The right labels [n_train] of the training points, where they are known.

    Raises:
        SamattrError: if a set is none, inputs of two sets are of different shapes or kinds, a label is outside the
            classes, or the mask or the right labels are not one a training point.
    """

    train: Examples
    queries: Examples
    tuning: Examples
    validation: Examples
    noisy: Tensor
    n_classes: int
    clean: Tensor | None = None

    def __post_init__(self) -> None:
        whole = isinstance(self.n_classes, Integral) and not isinstance(self.n_classes, bool)
        if not whole or self.n_classes < 1:
            raise SamattrError(f"n_classes must be a whole number of at least 2, not {self.n_classes!r}")
        for name in SETS:
            part = getattr(self, name)
            if not isinstance(part, Examples):
                raise SamattrError(f"the set '{name}' must be Examples, not {type(part).__name__}")
            shapes = [list(each.x.shape[1:]) for each in (part, self.train)]
            if shapes[0] != shapes[1]:
                raise SamattrError(f"the inputs of the sets are of different shapes, {shapes[0]} and {shapes[1]}")
            if (part.x.dtype == torch.int64) != (self.train.x.dtype == torch.int64):
                kinds = f"{described(part.x)} in '{name}' and {described(self.train.x)} in 'train'"
                raise SamattrError(f"the inputs of the sets are of different kinds, {kinds}")
            if not part.y.is_floating_point() and self.n_classes < 2:
                raise SamattrError(f"n_classes must be a whole number of at least 2, not {self.n_classes!r}")
            if not part.y.is_floating_point() and (label := int(part.y.max())) >= self.n_classes:
                raise SamattrError(f"the set '{name}' has a label {label}, outside the {self.n_classes} classes")
        n = len(self.train.x)
        noisy = _tensor(self.noisy, "the mask 'noisy'")
        if noisy.dtype != torch.bool or list(noisy.shape) != [n]:
            raise SamattrError(f"'noisy' must be a mask of the training points, bool [{n}], not {described(noisy)}")
        object.__setattr__(self, "noisy", noisy)
        if self.clean is not None:
            object.__setattr__(self, "clean", _labels(self.clean))
            if self.clean.shape != self.train.y.shape:
                shape = list(self.train.y.shape)
                raise SamattrError(
                    f"'clean' must be the labels {shape} of the training points, not {described(self.clean)}"
                )

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
        sets = {name: getattr(self, name).to(device, dtype) for name in SETS}
        return replace(self, **sets)
