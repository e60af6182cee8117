"""Workloads: data, model, SAM recipe and seed, frozen and named. Everything else is derived from one of them."""

import math
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property
from typing import Any

import torch

from samattr_ref.data import (
    CIFAR10,
    CIFAR10N,
    CIFAR100,
    BreastCancer,
    DataSource,
    Digits,
    Docstrings,
    Examples,
    Features,
    MiniImageNet,
    Splits,
    TorchvisionDigits,
)
from samattr_ref.network.models import CNN, MLP, LogisticRegression, ModelRecipe, ResNet9, ResNet18
from samattr_ref.network.network import prepared
from samattr_ref.network.objective import Objective
from samattr_ref.proof import refuse_layers
from samattr_ref.sam.variants import SAM, VARIANTS, Rule, Sam, variant_named
from samattr_ref.support.device import device
from samattr_ref.support.errors import SamattrError, first_line, unknown_name
from samattr_ref.support.fingerprint import Fingerprint, fingerprint
from samattr_ref.support.options import Option, checked, unknown_setting
from samattr_ref.support.precision import DEFAULT, precision
from samattr_ref.support.references import load_reference
from samattr_ref.support.seeds import UNKEYED, json_digest, seeded, stream

RUN_VERSION = 5
"""Raised whenever the same workload would train to other numbers: older stored runs are then not found."""

DTYPES = {"float32": torch.float32, "float64": torch.float64}


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
        weight_decay: λ >= 0 of the L2 term (λ/2)‖ω‖², a part of the loss.
        schedule: `"constant"`, `"cosine"` (to zero) or `"linear"` (to zero).
        warmup: Steps of linear warm-up from zero.
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

    def __post_init__(self) -> None:
        if not isinstance(self.variant, Sam):
            raise SamattrError(f"variant must be one of {', '.join(VARIANTS)} as an object, not {self.variant!r}")
        Rule(self.rho, self.p, self.momentum, self.variant)
        if self.steps < 1 or (self.batch_size is not None and self.batch_size < 1):
            raise SamattrError(f"steps and batch_size must be at least 1, not {self.steps} and {self.batch_size}")
        if not (0 < self.learning_rate < math.inf and 0 <= self.momentum < 1 and 0 <= self.weight_decay < math.inf):
            raise SamattrError("learning_rate must be > 0, momentum in [0, 1) and weight_decay >= 0, and all finite")
        if self.warmup < 0:
            raise SamattrError(f"warmup must be at least 0, not {self.warmup}")
        if self.schedule not in ("constant", "cosine", "linear"):
            raise unknown_name("schedule", self.schedule, ["constant", "cosine", "linear"])
        if self.sampling not in ("epochs", "replacement"):
            raise unknown_name("sampling", self.sampling, ["epochs", "replacement"])

    @cached_property
    def rule(self) -> Rule:
        """How a step perturbs and moves."""
        return Rule(self.rho, self.p, self.momentum, self.variant)

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


@checked
@dataclass(frozen=True)
class Workload:
    """A named attribution problem: which training points made this network what it is?

    Attributes:
        name: What it is called in tables.
        data: Where its points come from.
        model: Its network.
        recipe: How it is trained.
        seed: Seeds the split, the label noise, the initial parameters and the batches, each by a stream of its own.
        dtype: `"float32"` or `"float64"`.
        n_removed: How many points the ground truth removes, one at a time, drawn by seed; None removes each.
        training_seed: Seeds the initial parameters and the batches in place of `seed`: the same points trained anew.
    """

    name: str
    data: DataSource
    model: ModelRecipe
    recipe: SamRecipe = SamRecipe()
    seed: int = 0
    dtype: str = "float32"
    n_removed: int | None = None
    training_seed: int | None = None

    def __post_init__(self) -> None:
        _check_part("data", self.data, "load", "load(seed) that returns sr.Splits, such as sr.Digits()")
        _check_part("model", self.model, "build", "build(input_shape, n_classes), such as sr.MLP()")
        if not isinstance(self.recipe, SamRecipe):
            raise SamattrError(f"recipe must be a SamRecipe, such as sr.SamRecipe(), not {type(self.recipe).__name__}")
        if self.dtype not in DTYPES:
            raise unknown_name("dtype", self.dtype, DTYPES)
        if self.n_removed is not None and self.n_removed < 2:
            raise SamattrError(f"n_removed must be at least 2, not {self.n_removed}: ranks need two points")

    @property
    def splits(self) -> Splits:
        """Its training, query, tuning and validation sets, in its dtype on the device."""
        return _splits(self)

    @property
    def queries(self) -> Examples:
        """The queries that results are reported on."""
        return self.splits.queries

    @property
    def drawn_by(self) -> int:
        """The seed of its initial parameters and batches."""
        return self.seed if self.training_seed is None else self.training_seed

    @property
    def note(self) -> str:
        """In what its network differs from the one that its name is known for; empty if in nothing."""
        return getattr(self.model, "note", "")

    def build(self) -> tuple[Objective, torch.Tensor]:
        """Its objective and its initial parameters ω_0 [P], the same every time.

        Raises:
            SamattrError: if the model cannot be built, or has nothing to train, or layers that break a rule.
        """
        train, n_classes = self.splits.train, self.splits.n_classes
        with seeded(self.drawn_by, "initial parameters"):
            try:
                module = self.model.build(tuple(train.x.shape[1:]), n_classes)
                if not isinstance(module, torch.nn.Module):
                    kind = type(module).__name__
                    raise SamattrError(f"the model's build must return a torch.nn.Module, not a {kind}")
                module = prepared(module, train.x[:1].cpu(), DTYPES[self.dtype]).to(device())
            except SamattrError:
                raise
            except Exception as error:  # whatever a user's model raises
                raise SamattrError(f"the model cannot be built: {first_line(error)}") from error
        refuse_layers(module)
        objective = Objective(module, self.recipe.weight_decay)
        if not objective.n_parameters:
            raise SamattrError("the network has no parameters to train: all are frozen, or it has none")
        return objective, objective.flatten()

    def key(self) -> str:
        """The hash of all that a run of it depends on: its points, start, network, recipe, torch, device, precision.

        What cannot be keyed has another key every time, which nothing is found again by.

        Raises:
            SamattrError: for an unknown precision, or a network that cannot be built.
        """
        return self.key_of(fingerprint(self.build()[0].module))

    def key_of(self, network: Fingerprint) -> str:
        """`key`, where its network is built already."""
        if network.unkeyed:
            return f"{UNKEYED}{uuid.uuid4().hex}"
        recipe = {f.name: str(getattr(self.recipe, f.name)) for f in fields(self.recipe)}
        own = {} if precision() == DEFAULT else {"precision": precision()}
        return json_digest(
            {
                "version": RUN_VERSION,
                "data": self.splits.digest,
                "network": network.digest,
                "recipe": recipe,
                "seed": self.drawn_by,
                "torch": torch.__version__,
                "device": device(),
                **own,
            }
        )

    @cached_property
    def _sets(self) -> tuple[Any, ...]:
        """What tells its sets from those of others within a process."""
        return type(self.data), fingerprint(dict(vars(self.data))).digest, self.seed, self.dtype, device()

    def override(self, **settings: Any) -> "Workload":
        """The same workload with fields of it, its recipe, data or model replaced, found by their names.

        Raises:
            SamattrError: if no part has a field of that name, or a value is out of range.

        >>> load_workload("digits-mlp").override(rho=0.1, n_train=50).recipe.rho
        0.1
        """
        workload = self
        for name, value in settings.items():
            workload = _override(workload, name, value)
        return workload


def _check_part(name: str, part: Any, method: str, wanted: str) -> None:
    """Refuse what is no data source or model recipe, before its first use says so in a traceback."""
    if isinstance(part, type):
        raise SamattrError(f"{name} must be an instance, not the class {part.__name__}: give {part.__name__}(...)")
    if not callable(getattr(part, method, None)):
        module = isinstance(part, torch.nn.Module)
        what = "a module itself" if module else type(part).__name__
        hint = ": wrap it in a frozen dataclass whose build returns a fresh one" if module else ""
        raise SamattrError(f"{name} must have a method {wanted}; {what} has none{hint}")


def _override(workload: Workload, name: str, value: Any) -> Workload:
    if isinstance(workload.data, Features):  # what has a name is beneath it
        beneath = _override(replace(workload, data=workload.data.source), name, value)
        return replace(beneath, data=replace(workload.data, source=beneath.data))
    if name in ("dtype", "n_removed", "training_seed"):
        return _with(workload, name, value)
    if name == "variant" and isinstance(value, str):
        value = variant_named(value)
    variant = workload.recipe.variant
    if name in (own := [f.name for f in fields(variant)]):
        return replace(workload, recipe=replace(workload.recipe, variant=_with(variant, name, value)))
    parts = {part: getattr(workload, part) for part in ("recipe", "data", "model")}
    known: list[str] = []
    for part, old in parts.items():
        names = [f.name for f in fields(old)] if is_dataclass(old) else []
        if name in names:
            return replace(workload, **{part: _with(old, name, value)})
        known += names
    raise unknown_setting("workload setting", name, ["dtype", "n_removed", "training_seed", *known, *own])


def _with(part: Any, name: str, value: Any) -> Any:
    """A dataclass with another value of a field, if it is of the field's kind."""
    old = getattr(part, name)
    Option.declared(old, next(f.type for f in fields(part) if f.name == name)).check(name, value)
    return replace(part, **{name: value})


_loaded: OrderedDict[tuple[Any, ...], Splits] = OrderedDict()
_loading = threading.RLock()

LOADED = 4
"""The sets of so many workloads are held."""


def _splits(workload: Workload) -> Splits:
    """The sets of a workload, held as long as others were not asked for since."""
    key = workload._sets
    with _loading:
        if key not in _loaded:
            _loaded[key] = _load(workload).to(device(), DTYPES[workload.dtype])
            if len(_loaded) > LOADED:
                _loaded.popitem(last=False)
        _loaded.move_to_end(key)
        return _loaded[key]


def _load(workload: Workload) -> Splits:
    """A data source's sets; a user's own source is asked twice, since what differs from call to call is no data set."""

    def once() -> Splits:
        with seeded(workload.seed, "data"):
            try:
                splits = workload.data.load(workload.seed)
            except SamattrError:
                raise
            except Exception as error:  # whatever a user's data source raises
                raise SamattrError(f"the data of {workload.name} cannot be loaded: {first_line(error)}") from error
        if not isinstance(splits, Splits):
            raise SamattrError(f"the data's load must return samattr_ref.Splits, not a {type(splits).__name__}")
        return splits

    splits = once()
    source = workload.data.source if isinstance(workload.data, Features) else workload.data
    own = type(source).__module__.startswith("samattr_ref.")
    if not own and once().whole_digest != splits.whole_digest:
        raise SamattrError(
            f"the data of {workload.name} differs from call to call: draw from torch's, NumPy's or Python's global "
            "generator, which are seeded for it, or from one seeded by load's argument"
        )
    return splits


DIGITS_LOGREG = SamRecipe(rho=0.2, steps=1000, batch_size=50, learning_rate=0.5, weight_decay=0.01, schedule="cosine")
CANCER_LOGREG = SamRecipe(rho=0.1, steps=600, batch_size=50, learning_rate=0.5, weight_decay=0.01, schedule="cosine")
DOCSTRINGS_MLP = SamRecipe(steps=600, batch_size=50, learning_rate=0.5, weight_decay=3e-3, schedule="cosine")
RESNET9 = SamRecipe(rho=0.01, steps=200, batch_size=50, learning_rate=0.1, schedule="cosine")
RESNET18 = SamRecipe(rho=0.01, steps=60, batch_size=50, learning_rate=0.02, schedule="cosine")

_WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("digits-logreg", Digits(), LogisticRegression(), DIGITS_LOGREG, dtype="float64"),
        Workload("digits-mlp", Digits(), MLP((32,)), SamRecipe(learning_rate=0.3, schedule="cosine")),
        Workload(
            "mnist-logreg",
            TorchvisionDigits(n_train=1000),
            LogisticRegression(),
            SamRecipe(rho=0.1, steps=1000, learning_rate=0.1, weight_decay=0.01, schedule="cosine"),
            n_removed=200,
        ),
        Workload(
            "mnist-mlp",
            TorchvisionDigits(n_train=1000),
            MLP((128, 64), "gelu"),
            SamRecipe(steps=400, learning_rate=0.1),
            n_removed=200,
        ),
        Workload("mnist-cnn", TorchvisionDigits(n_train=1000), CNN(), SamRecipe(steps=300), n_removed=100),
        Workload(
            "fashion-cnn",
            TorchvisionDigits(dataset="FashionMNIST", n_train=1000),
            CNN(),
            SamRecipe(steps=300),
            n_removed=100,
        ),
        Workload(
            "fashion-logreg",
            TorchvisionDigits(dataset="FashionMNIST"),
            LogisticRegression(),
            SamRecipe(rho=0.1, weight_decay=0.01, schedule="cosine"),
        ),
        Workload("cifar10-cnn", CIFAR10(n_train=1000), CNN((16, 32)), SamRecipe(steps=300), n_removed=100),
        Workload("cancer-logreg", BreastCancer(), LogisticRegression(), CANCER_LOGREG, dtype="float64"),
        Workload("docstrings-mlp", Docstrings(vocabulary=200), MLP((16,)), DOCSTRINGS_MLP),
        Workload("cifar10n-cnn", CIFAR10N(n_train=1000), CNN((16, 32)), SamRecipe(steps=300), n_removed=100),
        Workload("cifar100-cnn", CIFAR100(n_train=2000), CNN((16, 32)), SamRecipe(steps=600), n_removed=100),
        Workload("cifar10-resnet9", CIFAR10(n_train=1000), ResNet9(16), RESNET9, n_removed=20),
        Workload("cifar10-resnet18", CIFAR10(n_query=30), ResNet18(), RESNET18, n_removed=5),
        Workload(
            "miniimagenet-resnet9",
            MiniImageNet(n_train=1000, n_classes=10),
            ResNet9(16),
            RESNET9,
            n_removed=20,
        ),
    )
}


def workloads() -> list[str]:
    """The names of the workloads that come with the project."""
    return list(_WORKLOADS)


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
    if ":" in name:
        found = load_reference(name)
        workload = found() if callable(found) and not isinstance(found, Workload) else found
        if not isinstance(workload, Workload):
            raise SamattrError(f"{name} is a {type(workload).__name__}, not a samattr_ref.Workload")
    elif name in _WORKLOADS:
        workload = _WORKLOADS[name]
    else:
        raise unknown_name("workload", name, _WORKLOADS)
    return replace(workload, seed=seed)
