"""Workloads: data, model, SAM recipe and seed, frozen and named. Everything else is derived from one of them."""

import threading
import uuid
from collections import OrderedDict
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import torch

from samattr_ref.data import (
    Augmentation,
    DataSource,
    Examples,
    Features,
    Splits,
)
from samattr_ref.data.examples import SETS
from samattr_ref.data.usable import check_apart, check_sets
from samattr_ref.network.losses import CROSS_ENTROPY, Loss
from samattr_ref.network.models import ModelRecipe
from samattr_ref.network.network import prepared
from samattr_ref.network.objective import Objective
from samattr_ref.network.proof import refuse_layers
from samattr_ref.overriding import overridden
from samattr_ref.recipe import SamRecipe
from samattr_ref.support.device import device
from samattr_ref.support.errors import SamattrError, unknown_name
from samattr_ref.support.fingerprint import Fingerprint, fingerprint
from samattr_ref.support.foreign import foreign
from samattr_ref.support.names import check_name
from samattr_ref.support.options import checked
from samattr_ref.support.precision import DEFAULT, precision, use_precision_once
from samattr_ref.support.seeds import UNKEYED, checked_seed, json_digest, seeded
from samattr_ref.support.source import reach

RUN_VERSION = 5
"""Raised where the same workload would train to other numbers by what its source does not show, such as rounding."""

REMOVED = ("uniform", "stratified")

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@checked
@dataclass(frozen=True)
class Workload:
    """A named attribution problem: which training points made this network what it is?

    Attributes:
        name: What it is called in tables.
        data: Where its points come from.
        model: Its network.
        recipe: How it is trained.
        seed: Seeds the split, the label noise, the initial parameters and the batches, each by a stream of its own; at
            least 0, as every seed.
        dtype: `"float32"` or `"float64"`.
        n_removed: How many points the ground truth removes, one at a time, drawn by seed; None removes each.
        removed: How they are drawn: `"uniform"`; or `"stratified"`, so that half of them are likely to matter: a
            quarter among the wrong labels, a quarter among the hundredth of the points with the largest gradients at
            ω*, the others among all the rest.
        augmentation: How the inputs of a step differ from the points of its batch, such as `FlipAndShift()`; None for
            not at all. Retraining and the exact derivative of the run see what the step saw; every method that
            approximates takes the points as they stand in the training set.
        training_seed: Seeds the initial parameters and the batches in place of `seed`: the same points trained anew.
        loss: What is trained on, such as `SquaredError()`; see `samattr_ref.network.losses`.
    """

    name: str
    data: DataSource
    model: ModelRecipe
    recipe: SamRecipe = SamRecipe()
    seed: int = 0
    dtype: str = "float32"
    n_removed: int | None = None
    removed: str = "uniform"
    training_seed: int | None = None
    augmentation: Augmentation | None = None
    loss: Loss = CROSS_ENTROPY

    def __post_init__(self) -> None:
        check_name("a workload", self.name)
        _check_part("data", self.data, "load", "load(seed) that returns sr.Splits, such as sr.Digits()")
        _check_part("model", self.model, "build", "build(input_shape, n_classes), such as sr.MLP()")
        if self.augmentation is not None:
            _check_part("augmentation", self.augmentation, "view", "view(x, seed, step), such as sr.FlipAndShift()")
        if not isinstance(self.loss, Loss):
            raise SamattrError(f"loss must be a sr.Loss, such as sr.SquaredError(), not {self.loss!r}")
        if not isinstance(self.recipe, SamRecipe):
            raise SamattrError(f"recipe must be a SamRecipe, such as sr.SamRecipe(), not {type(self.recipe).__name__}")
        for name in ("seed", "training_seed"):
            object.__setattr__(self, name, checked_seed(name, getattr(self, name)))
        if self.dtype not in DTYPES:
            raise unknown_name("dtype", self.dtype, DTYPES)
        if self.n_removed is not None and self.n_removed < 2:
            raise SamattrError(f"n_removed must be at least 2, not {self.n_removed}: ranks need two points")
        if self.removed not in REMOVED:
            raise unknown_name("draw of removed points", self.removed, REMOVED)

    @property
    def splits(self) -> Splits:
        """Its training, query, tuning and validation sets, in its dtype on the device."""
        splits = _splits(self)
        for name in SETS:
            self.loss.check(getattr(splits, name).y, splits.n_classes)
        return splits

    @property
    def queries(self) -> Examples:
        """The queries that results are reported on."""
        return self.splits.queries

    @property
    def drawn_by(self) -> int:
        """The seed of its initial parameters and batches."""
        return self.seed if self.training_seed is None else self.training_seed

    def inputs(self, x: torch.Tensor, step: int) -> torch.Tensor:
        """What a step sees of the points x [b, ...] of its batch, in its order."""
        return x if self.augmentation is None else self.augmentation.view(x, self.drawn_by, step)

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
        with seeded(self.drawn_by, "initial parameters"), foreign("the model cannot be built"):
            module = self.model.build(tuple(train.x.shape[1:]), n_classes)
            if not isinstance(module, torch.nn.Module):
                kind = type(module).__name__
                raise SamattrError(f"the model's build must return a torch.nn.Module, not a {kind}")
            module = prepared(module, train.x[:1].cpu(), DTYPES[self.dtype]).to(device())
        refuse_layers(module)
        objective = Objective(module, self.recipe.weight_decay, self.loss)
        if not objective.n_parameters:
            raise SamattrError("the network has no parameters to train: all are frozen, or it has none")
        return objective, objective.flatten()

    def key(self) -> str:
        """The hash of all that a run of it depends on: points, start, network, recipe, code, torch, device, precision.

        What cannot be keyed has another key every time, which nothing is found again by.

        Raises:
            SamattrError: for an unknown precision, or a network that cannot be built.
        """
        return self.key_of(fingerprint(self.build()[0].module))

    def key_of(self, network: Fingerprint) -> str:
        """`key`, where its network is built already."""
        variant, augmentation = fingerprint(self.recipe.variant), fingerprint(self.augmentation)
        loss = fingerprint(self.loss)
        if network.unkeyed or variant.unkeyed or augmentation.unkeyed or loss.unkeyed:
            return f"{UNKEYED}{uuid.uuid4().hex}"
        recipe = {f.name: str(getattr(self.recipe, f.name)) for f in fields(self.recipe)}
        own = {} if precision() == DEFAULT else {"precision": precision()}
        if self.augmentation is not None:
            own["augmentation"] = augmentation.digest
        if self.loss != CROSS_ENTROPY:
            own["loss"] = loss.digest
        return json_digest(
            {
                "version": RUN_VERSION,
                "code": reach("samattr_ref.training").digest,
                "data": self.splits.digest,
                "network": network.digest,
                "recipe": recipe | {"variant": variant.digest},
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

        >>> from samattr_ref import MLP, Digits
        >>> Workload("mine", Digits(), MLP()).override(rho=0.1, n_train=50).recipe.rho
        0.1
        """
        return overridden(self, settings)


def _check_part(name: str, part: Any, method: str, wanted: str) -> None:
    """Refuse what is no data source or model recipe, before its first use says so in a traceback."""
    if isinstance(part, type):
        raise SamattrError(f"{name} must be an instance, not the class {part.__name__}: give {part.__name__}(...)")
    if not callable(getattr(part, method, None)):
        module = isinstance(part, torch.nn.Module)
        what = "a module itself" if module else type(part).__name__
        hint = ": wrap it in a frozen dataclass whose build returns a fresh one" if module else ""
        raise SamattrError(f"{name} must have a method {wanted}; {what} has none{hint}")


_loaded: OrderedDict[tuple[Any, ...], Splits] = OrderedDict()
_loading = threading.RLock()

LOADED = 4
"""The sets of so many workloads are held."""


def _splits(workload: Workload) -> Splits:
    """The sets of a workload, held as long as others were not asked for since."""
    use_precision_once()  # before the first computation: sets may be made by a network
    key = workload._sets
    with _loading:
        if key not in _loaded:
            _loaded[key] = _load(workload).to(device(), DTYPES[workload.dtype])
            if len(_loaded) > LOADED:
                _loaded.popitem(last=False)
        _loaded.move_to_end(key)
        return _loaded[key]


def _load(workload: Workload) -> Splits:
    """A data source's sets; a user's own source is asked twice, since what differs from call to call is no data set.

    Raises:
        SamattrError: for a source that fails or that differs, or sets that say nothing, see `samattr_ref.data.usable`.
    """

    def once() -> Splits:
        with seeded(workload.seed, "data"), foreign(f"the data of {workload.name} cannot be loaded"):
            splits = workload.data.load(workload.seed)
        if not isinstance(splits, Splits):
            raise SamattrError(f"the data's load must return samattr_ref.Splits, not a {type(splits).__name__}")
        return splits

    splits = once()
    check_sets(splits, workload.name)
    source = workload.data.source if isinstance(workload.data, Features) else workload.data
    own = type(source).__module__.startswith("samattr_ref.")
    if not own:
        check_apart(splits.train, {name: getattr(splits, name) for name in SETS[1:]})
        if once().whole_digest != splits.whole_digest:
            raise SamattrError(
                f"the data of {workload.name} differs from call to call: draw from torch's, NumPy's or Python's global "
                "generator, which are seeded for it, or from one seeded by load's argument"
            )
    return splits
