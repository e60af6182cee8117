"""Data: labelled examples, label noise, and where a workload's four disjoint sets come from."""

from samattr_ref.data.augmentation import Augmentation, FlipAndShift
from samattr_ref.data.cifar10n import CIFAR10N
from samattr_ref.data.digits import Digits
from samattr_ref.data.examples import Examples, LabelNoise, Splits
from samattr_ref.data.features import Features
from samattr_ref.data.folder import data_folder
from samattr_ref.data.images import CIFAR10, CIFAR100, TorchvisionDigits
from samattr_ref.data.mini_imagenet import MiniImageNet
from samattr_ref.data.points import Points
from samattr_ref.data.sizes import DataSource, Sizes, make_splits
from samattr_ref.data.tabular import BreastCancer
from samattr_ref.data.text import Docstrings, TextFolder

__all__ = [
    "CIFAR10",
    "CIFAR10N",
    "CIFAR100",
    "Augmentation",
    "BreastCancer",
    "DataSource",
    "Digits",
    "Docstrings",
    "Examples",
    "Features",
    "FlipAndShift",
    "LabelNoise",
    "MiniImageNet",
    "Points",
    "Sizes",
    "Splits",
    "TextFolder",
    "TorchvisionDigits",
    "data_folder",
    "make_splits",
]
