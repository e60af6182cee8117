"""What the classes of a data set are called, where a number says nothing."""

from collections.abc import Sequence
from functools import cache

from samattr_ref.catalogue import WORKLOADS
from samattr_ref.data import CIFAR10, CIFAR10N, BreastCancer, DataSource, Docstrings, TorchvisionDigits
from samattr_ref.data.text import PACKAGES

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TUMOURS = ("malignant", "benign")


def class_name(workload: str, label: int) -> str:
    """What a class of a registered workload is called; its number where that is its name, or no name is known.

    >>> class_name("cifar10n-cnn", 9), class_name("digits-mlp", 9), class_name("mine.py:mine", 9)
    ('truck', '9', '9')
    """
    names = _names(workload)
    return names[label] if label < len(names) else str(label)


@cache
def _names(workload: str) -> Sequence[str]:
    return class_names(WORKLOADS[workload].workload.data) if workload in WORKLOADS else ()


def class_names(data: DataSource) -> Sequence[str]:
    """The names of a data source's classes, in their order: those that are known here, or its own `class_names`."""
    match data:
        case CIFAR10() | CIFAR10N():
            return CIFAR10_CLASSES
        case TorchvisionDigits(dataset="FashionMNIST"):
            from torchvision.datasets import FashionMNIST

            return tuple(FashionMNIST.classes)
        case Docstrings():
            return PACKAGES
        case BreastCancer():
            return TUMOURS
    return tuple(getattr(data, "class_names", ()))
