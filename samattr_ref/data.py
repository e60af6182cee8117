"""Data: labelled examples, label noise, and the four disjoint sets that a workload works on."""

import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import platformdirs
import torch
from torch import Tensor

from samattr_ref import store
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

    def take(self, indices: Tensor) -> "Examples":
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
    """

    train: Examples
    queries: Examples
    tuning: Examples
    validation: Examples
    noisy: Tensor
    n_classes: int

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what training depends on: the training points and the number of classes."""
        return tensor_digest(self.train.x, self.train.y, torch.tensor(self.n_classes))

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Splits":
        """The sets on a device, the inputs in that dtype."""
        sets = {name: getattr(self, name).to(device, dtype) for name in ("train", "queries", "tuning", "validation")}
        return replace(self, **sets)


class DataSource(Protocol):
    """What a workload needs of its data: any frozen dataclass with this method will do."""

    def load(self, seed: int) -> Splits:
        """The sets for that seed."""


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


@dataclass(frozen=True, kw_only=True)
class Digits(Sizes):
    """The 1,797 8x8 handwritten digits that scikit-learn ships, scaled to [0, 1]."""

    def load(self, seed: int) -> Splits:
        """The sets for that seed, inputs [b, 1, 8, 8]."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        x = torch.as_tensor(digits.images, dtype=torch.float64)[:, None] / 16
        y = torch.as_tensor(digits.target, dtype=torch.int64)
        train, others = self.draw(len(x), None, seed)
        return make_splits(self, [Examples(x[i], y[i]) for i in train + others], 10, seed)


@dataclass(frozen=True, kw_only=True)
class TorchvisionDigits(Sizes):
    """MNIST or Fashion-MNIST as torchvision reads them, a seeded subset, scaled to [0, 1].

    Attributes:
        dataset: `"MNIST"` or `"FashionMNIST"`.
    """

    dataset: str = "MNIST"

    def load(self, seed: int) -> Splits:
        """The sets for that seed, inputs [b, 1, 28, 28]: training from its own set, the others from the test set."""
        import torchvision

        cls = getattr(torchvision.datasets, self.dataset)
        train, test = (_open(partial(cls, train=part)) for part in (True, False))

        def pick(source: Any, indices: Tensor) -> Examples:
            return Examples(
                source.data[indices][:, None].to(torch.float32) / 255, source.targets[indices].to(torch.int64)
            )

        chosen, others = self.draw(len(train.data), len(test.data), seed)
        examples = [pick(train, i) for i in chosen] + [pick(test, i) for i in others]
        return make_splits(self, examples, 10, seed)


@dataclass(frozen=True, kw_only=True)
class CIFAR10(Sizes):
    """CIFAR-10, a seeded subset, scaled to [-1, 1].

    Read from torchvision's own copy, or else from an `ImageFolder` tree `cifar10-jpeg/{train,test}/CLASS/*.jpg` in the
    data folder (`cifar10-jpeg.zip` there is unpacked into the store). The JPEG copy is lossy: say "CIFAR-10 (JPEG)"
    beside its results.
    """

    def load(self, seed: int) -> Splits:
        """The sets for that seed, inputs [b, 3, 32, 32]: training from its own set, the others from the test set."""
        import torchvision
        from torchvision.transforms.functional import pil_to_tensor

        folder = _image_folder("cifar10-jpeg")
        if folder is None:
            cls = torchvision.datasets.CIFAR10
            train, test = (_open(partial(cls, train=part)) for part in (True, False))
        else:
            train, test = (torchvision.datasets.ImageFolder(str(folder / part)) for part in ("train", "test"))

        def pick(source: Any, indices: Tensor) -> Examples:
            pairs = [source[i] for i in indices.tolist()]
            x = torch.stack([pil_to_tensor(image) for image, _ in pairs]).to(torch.float32)
            return Examples(x / 127.5 - 1, torch.tensor([label for _, label in pairs]))

        chosen, others = self.draw(len(train), len(test), seed)
        examples = [pick(train, i) for i in chosen] + [pick(test, i) for i in others]
        return make_splits(self, examples, 10, seed)


def make_splits(sizes: Sizes, examples: list[Examples], n_classes: int, seed: int) -> Splits:
    """The sets from their examples in the order train, queries, tuning, validation, with the label noise applied."""
    train, queries, tuning, validation = examples
    noisy = torch.zeros(len(train), dtype=torch.bool)
    if sizes.noise is not None:
        labels, noisy = sizes.noise.apply(train.y, n_classes, seed)
        train = Examples(train.x, labels)
    return Splits(train, queries, tuning, validation, noisy, n_classes)


def data_folder() -> Path:
    """The folder of data sets: `SAMATTR_DATA`, or `data` in the user's cache folder.

    Raises:
        SamattrError: if `SAMATTR_DATA` names a folder that does not exist.
    """
    named = os.environ.get("SAMATTR_DATA")
    if not named:
        return platformdirs.user_cache_path("samattr") / "data"
    if not Path(named).is_dir():
        raise SamattrError(f"SAMATTR_DATA names {named}, which is not a folder: make it, or unset SAMATTR_DATA")
    return Path(named)


def _open(dataset: Callable[..., Any]) -> Any:
    """A torchvision data set from the data folder; downloaded only into the default one, which is ours to fill."""
    root, download = data_folder(), not os.environ.get("SAMATTR_DATA")
    try:
        return dataset(str(root), download=download)
    except (RuntimeError, OSError) as error:
        advice = (
            "check the network, or put the files there yourself"
            if download
            else "put it there, or unset SAMATTR_DATA to have it downloaded into the cache folder"
        )
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SamattrError(f"the data set could not be read from {root} ({reason}): {advice}") from error


def _image_folder(name: str) -> Path | None:
    """The image tree of that name in the data folder, unpacked from its zip file where need be; None if absent."""
    root = data_folder()
    if (root / name / "train").is_dir():
        return root / name
    archive = root / f"{name}.zip"
    if not archive.is_file():
        return None
    unpacked = store.root() / "data" / name
    if not unpacked.is_dir():
        with store.lock(unpacked), zipfile.ZipFile(archive) as zipped:
            if not unpacked.is_dir():
                unfinished = unpacked.with_name(f"{name}.partial")
                zipped.extractall(unfinished)
                (unfinished / name).rename(unpacked)
                unfinished.rmdir()
    return unpacked
