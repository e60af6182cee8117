"""The workloads by name: those that come with the project, those of installed packages, and a user's own."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from samattr_ref.data import (
    CIFAR10,
    CIFAR10N,
    CIFAR100,
    BreastCancer,
    Digits,
    Docstrings,
    FlipAndShift,
    MiniImageNet,
    TorchvisionDigits,
)
from samattr_ref.network.models import CNN, MLP, LogisticRegression, ResNet9, ResNet18
from samattr_ref.recipe import SamRecipe
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.foreign import foreign
from samattr_ref.support.references import load_reference
from samattr_ref.support.registered import Registry
from samattr_ref.workload import Workload

DIGITS_LOGREG = SamRecipe(rho=0.2, steps=1000, batch_size=50, learning_rate=0.5, weight_decay=0.01, schedule="cosine")
CANCER_LOGREG = SamRecipe(rho=0.1, steps=600, batch_size=50, learning_rate=0.5, weight_decay=0.01, schedule="cosine")
DOCSTRINGS_MLP = SamRecipe(steps=600, batch_size=50, learning_rate=0.5, weight_decay=3e-3, schedule="cosine")
RESNET9 = SamRecipe(rho=0.01, steps=200, batch_size=50, learning_rate=0.1, schedule="cosine")
WHOLE = SamRecipe(
    steps=2820, batch_size=256, learning_rate=0.1, momentum=0.9, weight_decay=5e-4, schedule="linear", warmup=1410
)
"""Twelve passes over 60,000 points. The warm-up to half of the run keeps it attributable: without it, at the same
accuracy, the derivative says far less of what removing a twentieth of the points does (experiment `recipes`)."""
WHOLE_CNN = replace(WHOLE, learning_rate=0.03)
"""For a CNN with group norm and He's weights. With PyTorch's weights and no norm it starts on a plateau, takes far
larger steps to be nearly as accurate, and its derivative says little of what removing points does (`recipes`)."""
CIFAR_CNN = SamRecipe(
    steps=960, batch_size=125, learning_rate=0.03, momentum=0.9, weight_decay=5e-4, schedule="linear", warmup=480
)
"""Six passes over 20,000 points. Larger steps are more accurate, and then the derivative says less (`recipes`)."""
NARROW = SamRecipe(
    steps=1200, batch_size=500, learning_rate=0.2, momentum=0.9, weight_decay=5e-4, schedule="linear", warmup=600
)
"""Twelve passes over 50,000 points."""
WIDE = replace(NARROW, steps=2400, learning_rate=0.4, warmup=480)
"""Twenty-four passes over 50,000 points, for a CUDA device."""
RESNET18 = SamRecipe(rho=0.01, steps=60, batch_size=50, learning_rate=0.02, schedule="cosine")


TESTED: dict[str, Any] = {"n_query": 20, "n_tuning": 30, "n_validation": 9950}
"""All 10,000 points of a test set."""


def _whole(dataset: str) -> TorchvisionDigits:
    """All 60,000 training points, and all 10,000 of the test set."""
    return TorchvisionDigits(dataset=dataset, n_train=60_000, **TESTED)


@dataclass(frozen=True)
class Listed:
    """A registered workload.

    Attributes:
        workload: The workload.
        profiles: The profiles whose tables it stands in.
    """

    workload: Workload
    profiles: tuple[str, ...] = ()


def _admit(_name: str, found: Any, home: str) -> None:
    workload = _made(found)
    WORKLOADS.add(workload.name, Listed(workload), home)


WORKLOADS: Registry[Listed] = Registry("workload", "samattr.workloads", _admit)
"""The workloads by name, those of installed packages among them."""


def register_workload(workload: Workload, profiles: Sequence[str] = ()) -> Workload:
    """Register a workload: it is then found by its name, and among `workloads()`.

    Args:
        workload: The workload.
        profiles: The profiles of the main job that validate every method on it; benchmarks run on those of `quick`.
    """
    WORKLOADS.add(workload.name, Listed(workload, tuple(profiles)), sys._getframe(1).f_globals["__name__"])
    return workload


def workloads() -> list[str]:
    """The names of the registered workloads: those that come with the project, then those of installed packages."""
    return list(WORKLOADS)


def load_workload(name: str, seed: int = 0) -> Workload:
    """A workload by name, or a user's own as `package.module:attribute` or `path/to/file.py:attribute`.

    Args:
        name: A name of `workloads()`, or where to find a `Workload` (or a function without arguments that makes one).
        seed: Its seed.

    Raises:
        SamattrError: if there is none.

    >>> load_workload("digits-mlp", seed=3).seed
    3
    """
    return replace(_made(load_reference(name), name) if ":" in name else WORKLOADS.named(name).workload, seed=seed)


def _made(found: Any, name: str = "it") -> Workload:
    """A workload, or what a function without arguments makes."""
    workload = found
    if callable(found) and not isinstance(found, Workload):
        with foreign(f"{name} makes no workload", found):
            workload = found()
    if not isinstance(workload, Workload):
        raise SamattrError(f"{name} is a {type(workload).__name__}, not a samattr_ref.Workload")
    return workload


EVERYWHERE = ["quick", "desk", "paper"]

register_workload(
    Workload("digits-logreg", Digits(), LogisticRegression(), DIGITS_LOGREG, dtype="float64"),
    profiles=EVERYWHERE,
)
register_workload(
    Workload("digits-mlp", Digits(), MLP((32,)), SamRecipe(learning_rate=0.3, schedule="cosine")),
    profiles=EVERYWHERE,
)
register_workload(
    Workload(
        "mnist-logreg",
        TorchvisionDigits(n_train=1000),
        LogisticRegression(),
        SamRecipe(rho=0.1, steps=1000, learning_rate=0.1, weight_decay=0.01, schedule="cosine"),
        n_removed=200,
    )
)
register_workload(
    Workload(
        "mnist-mlp",
        TorchvisionDigits(n_train=1000),
        MLP((128, 64), "gelu"),
        SamRecipe(steps=400, learning_rate=0.1),
        n_removed=200,
    ),
    profiles=["paper"],
)
register_workload(
    Workload(
        "mnist-mlp-16",
        TorchvisionDigits(n_train=6000, n_query=500, n_validation=9470, noise=None),
        MLP((16, 16), "relu"),
        SamRecipe(steps=94, batch_size=64, learning_rate=0.1, momentum=0.9, schedule="cosine"),
        dtype="float64",
        n_removed=200,
    )
)
register_workload(Workload("mnist-cnn", TorchvisionDigits(n_train=1000), CNN(), SamRecipe(steps=300), n_removed=100))
register_workload(
    Workload(
        "fashion-cnn",
        TorchvisionDigits(dataset="FashionMNIST", n_train=1000),
        CNN(),
        SamRecipe(steps=300),
        n_removed=100,
    ),
    profiles=["paper"],
)
register_workload(
    Workload(
        "mnist-mlp-full",
        _whole("MNIST"),
        MLP((128, 64), "gelu"),
        WHOLE,
        n_removed=100,
        removed="stratified",
    )
)
for _name, _dataset in (("mnist-cnn-full", "MNIST"), ("fashion-cnn-full", "FashionMNIST")):
    _cnn = CNN(norm=True, initialisation="he")
    register_workload(Workload(_name, _whole(_dataset), _cnn, WHOLE_CNN, n_removed=20, removed="stratified"))
register_workload(
    Workload(
        "cifar10-cnn-norm-20000",
        CIFAR10(n_train=20_000, **TESTED),
        CNN((16, 32, 64), norm=True, initialisation="he"),
        CIFAR_CNN,
        n_removed=20,
        removed="stratified",
    )
)
register_workload(
    Workload(
        "cifar10-resnet9-narrow",
        CIFAR10(n_train=50_000, **TESTED),
        ResNet9(16, early_pooling=True),
        NARROW,
        n_removed=20,
        removed="stratified",
    )
)
for _name, _data in (
    ("cifar10-resnet9-wide", CIFAR10(n_train=50_000, noise=None, **TESTED)),
    ("cifar100-resnet9-wide", CIFAR100(n_train=50_000, noise=None, **TESTED)),
    ("miniimagenet-resnet9-wide", MiniImageNet(n_train=50_000, noise=None, **TESTED)),
):
    register_workload(
        Workload(
            _name,
            _data,
            ResNet9(64),
            WIDE,
            n_removed=20,
            removed="stratified",
            augmentation=FlipAndShift(shift=4),
        )
    )
register_workload(
    Workload(
        "fashion-logreg",
        TorchvisionDigits(dataset="FashionMNIST"),
        LogisticRegression(),
        SamRecipe(rho=0.1, weight_decay=0.01, schedule="cosine"),
    )
)
register_workload(
    Workload("cifar10-cnn", CIFAR10(n_train=1000), CNN((16, 32)), SamRecipe(steps=300), n_removed=100),
    profiles=["paper"],
)
register_workload(
    Workload("cancer-logreg", BreastCancer(), LogisticRegression(), CANCER_LOGREG, dtype="float64"),
    profiles=["desk"],
)
register_workload(
    Workload("docstrings-mlp", Docstrings(vocabulary=200), MLP((16,)), DOCSTRINGS_MLP),
    profiles=["desk"],
)
register_workload(Workload("cifar10n-cnn", CIFAR10N(n_train=1000), CNN((16, 32)), SamRecipe(steps=300), n_removed=100))
register_workload(
    Workload("cifar100-cnn", CIFAR100(n_train=2000), CNN((16, 32)), SamRecipe(steps=600), n_removed=100),
    profiles=["paper"],
)
register_workload(
    Workload("cifar10-resnet9", CIFAR10(n_train=1000), ResNet9(16), RESNET9, n_removed=20),
    profiles=["paper"],
)
register_workload(Workload("cifar10-resnet18", CIFAR10(n_query=30), ResNet18(), RESNET18, n_removed=5))
register_workload(
    Workload(
        "miniimagenet-resnet9",
        MiniImageNet(n_train=1000, n_classes=10),
        ResNet9(16),
        RESNET9,
        n_removed=20,
    )
)
