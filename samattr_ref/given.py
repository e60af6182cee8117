"""What a user has in hand, as parts of a workload: a module as it stands, and sets that are tensors already."""

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from samattr_ref.data import Examples, Splits
from samattr_ref.data.examples import examples_of
from samattr_ref.support.errors import SamattrError, first_line
from samattr_ref.workload import DTYPES


@dataclass(frozen=True)
class Given:
    """A data source of sets that are there: the same for every seed.

    Attributes:
        splits: The sets.
    """

    splits: Splits = field(repr=False)

    def load(self, seed: int) -> Splits:
        """The sets."""
        return self.splits


@dataclass(frozen=True)
class Standing:
    """A network that is there: every build is a copy of it, its parameters as they stand.

    Attributes:
        module: The network; nobody else may change it, see `copied`.
    """

    module: nn.Module = field(repr=False)

    def build(self, input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
        """A copy."""
        return copy.deepcopy(self.module)


def copied(module: nn.Module) -> nn.Module:
    """A module's own copy on the CPU, in its mode and without its gradients.

    Raises:
        SamattrError: if it is no module or cannot be copied, or its parameters are not drawn yet or of other types
            than float32 and float64.
    """
    if not isinstance(module, nn.Module):
        raise SamattrError(f"the model must be a torch.nn.Module, not {type(module).__name__}")
    if any(isinstance(parameter, UninitializedParameter) for parameter in module.parameters()):
        raise SamattrError("the network has lazy layers whose parameters are not drawn yet: call it once before")
    dtype_of(module)
    try:
        twin = copy.deepcopy(module)
    except Exception as error:  # whatever a user's module raises
        raise SamattrError(f"the network cannot be copied: {first_line(error)}") from error
    twin.zero_grad(set_to_none=True)
    return twin.to("cpu")


def dtype_of(module: nn.Module) -> str:
    """The one type of the parameters that are trained, a name of `DTYPES`.

    Raises:
        SamattrError: if they are of several, or of another.
    """
    found = {
        str(parameter.dtype).removeprefix("torch.") for parameter in module.parameters() if parameter.requires_grad
    }
    if not found:
        raise SamattrError("the network has no parameters to train: all are frozen, or it has none")
    if len(found) > 1 or not found <= set(DTYPES):
        raise SamattrError(f"the network is trained in {' and '.join(sorted(found))}: float32 or float64 alone will do")
    return found.pop()


def flat(module: nn.Module) -> Tensor:
    """The trained parameters of a module as one vector [P], a copy on the CPU."""
    trained = [parameter.detach().reshape(-1) for parameter in module.parameters() if parameter.requires_grad]
    return torch.cat(trained).to("cpu", copy=True)


def splits_of(train: Examples, queries: Any, validation: Any = None, tuning: Any = None) -> Splits:
    """The sets of a workload from a user's own.

    Args:
        train: The training points.
        queries: The queries. They may be training points, since training is over: what each does to itself is then
            among its effects. The same holds for the other sets.
        validation: The validation set; None takes the queries.
        tuning: The queries that options are chosen on; None takes the validation set.

    Raises:
        SamattrError: if one is no set of examples, or the sets do not go together.
    """
    asked = examples_of(queries, "queries")
    checked = asked if validation is None else examples_of(validation, "the validation set")
    chosen_on = checked if tuning is None else examples_of(tuning, "the tuning queries")
    n_classes = max(part.n_outputs for part in (train, asked, checked, chosen_on))
    unknown = torch.zeros(len(train.x), dtype=torch.bool)  # which labels are wrong
    return Splits(train, asked, chosen_on, checked, unknown, n_classes)
