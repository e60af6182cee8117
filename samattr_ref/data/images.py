"""The image sets that torchvision reads: MNIST and Fashion-MNIST, CIFAR-10 and CIFAR-100."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from samattr_ref.data.examples import Splits
from samattr_ref.data.folder import File, image_tree, open_torchvision
from samattr_ref.data.image_set import SUFFIXES, ImageSet, from_arrays, from_files
from samattr_ref.data.sizes import Sizes, make_splits
from samattr_ref.support.errors import unknown_name
from samattr_ref.support.options import checked

DIGITS = ("MNIST", "FashionMNIST")


@checked
@dataclass(frozen=True, kw_only=True)
class TorchvisionDigits(Sizes):
    """MNIST or Fashion-MNIST as torchvision reads them, a seeded subset, scaled to [0, 1].

    Attributes:
        dataset: `"MNIST"` or `"FashionMNIST"`.

    Raises:
        SamattrError: if there is no data set of that name.
    """

    dataset: str = "MNIST"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dataset not in DIGITS:
            raise unknown_name("dataset", self.dataset, DIGITS)

    def load(self, seed: int) -> Splits:
        """The sets for that seed, inputs [b, 1, 28, 28]: training from its own set, the others from the test set."""
        import torchvision

        cls = getattr(torchvision.datasets, self.dataset)
        train, test = (_grey(open_torchvision(partial(cls, train=part))) for part in (True, False))
        return split_images(self, train, test, seed)


@checked
@dataclass(frozen=True, kw_only=True)
class CIFAR10(Sizes):
    """CIFAR-10, a seeded subset, scaled to [-1, 1].

    Read from an `ImageFolder` tree `cifar10-jpeg/{train,test}/CLASS/*.jpg` in the data folder or in `cifar10-jpeg.zip`
    there, or else from torchvision's own copy, whose checksums are verified. The JPEG copy is lossy: say "CIFAR-10
    (JPEG)" beside its results.
    """

    def load(self, seed: int) -> Splits:
        """The sets for that seed, inputs [b, 3, 32, 32]: training from its own set, the others from the test set."""
        return split_images(self, *open_cifar10(), seed)


@checked
@dataclass(frozen=True, kw_only=True)
class CIFAR100(Sizes):
    """CIFAR-100 with its 100 fine labels, a seeded subset, scaled to [-1, 1].

    Read from torchvision's own copy (`cifar-100-python` in the data folder), whose checksums are verified.
    """

    def load(self, seed: int) -> Splits:
        """The sets for that seed, inputs [b, 3, 32, 32]: training from its own set, the others from the test set."""
        import torchvision

        return split_images(self, *_cifar(torchvision.datasets.CIFAR100), seed, n_classes=100)


def split_images(sizes: Sizes, train: ImageSet, test: ImageSet, seed: int, n_classes: int = 10) -> Splits:
    """The sets of that seed: training points from one set of images, all others from the other."""
    chosen, others = sizes.draw(len(train), len(test), seed)
    examples = [train.take(i) for i in chosen] + [test.take(i) for i in others]
    return make_splits(sizes, examples, n_classes, seed)


def open_cifar10() -> tuple[ImageSet, ImageSet]:
    """CIFAR-10's training and test images, from the image tree or else from torchvision's copy."""
    import torchvision

    tree = image_tree("cifar10-jpeg", ("train", "test"), SUFFIXES)
    return _cifar(torchvision.datasets.CIFAR10) if tree is None else _tree(*tree)


def _cifar(cls: Any) -> tuple[ImageSet, ImageSet]:
    """The training and test images of one of torchvision's CIFAR classes."""
    train, test = (open_torchvision(partial(cls, train=part)) for part in (True, False))
    return from_arrays(train.data, train.targets), from_arrays(test.data, test.targets)


def _tree(train: list[tuple[File, str]], test: list[tuple[File, str]]) -> tuple[ImageSet, ImageSet]:
    classes = sorted({name for _, name in train + test})
    return from_files(train, classes), from_files(test, classes)


def _grey(source: Any) -> ImageSet:
    """The images of one of torchvision's MNIST classes, scaled to [0, 1]."""
    return ImageSet(
        source.targets.to(torch.int64), lambda indices: source.data[indices][:, None].to(torch.float32) / 255
    )
