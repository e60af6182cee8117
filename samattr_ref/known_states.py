"""Runs of which states are known and steps are not: the final weights, perhaps with checkpoints before them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from samattr_ref.data.examples import examples_of
from samattr_ref.given import Given, Standing, copied, dtype_of, flat, splits_of
from samattr_ref.network.losses import CROSS_ENTROPY, Loss
from samattr_ref.network.proof import prove
from samattr_ref.recorded import UnknownSteps
from samattr_ref.run import Run
from samattr_ref.sam.variants import SAM, Sam
from samattr_ref.support.environment import environment
from samattr_ref.support.errors import SamattrError, TrajectoryError
from samattr_ref.support.fingerprint import fingerprint
from samattr_ref.support.seeds import json_digest, tensor_digest
from samattr_ref.workload import Workload


@dataclass(frozen=True, eq=False)
class KnownStates(Run):
    """A run of which states are known and steps are not.

    Its checkpoints stand in the place of its steps, each for those of its part of the run: `step_sizes` are the sums of
    theirs, and both are empty where ω* alone is known. What asks for a step is refused.
    """

    stepwise: ClassVar[bool] = False

    @property
    def n_steps(self) -> int:
        """Unknown.

        Raises:
            TrajectoryError: always.
        """
        raise TrajectoryError

    def batch(self, t: int) -> Tensor:
        """Unknown.

        Raises:
            TrajectoryError: always.
        """
        raise TrajectoryError


def from_state_dict(
    model: nn.Module,
    state: Mapping[str, Tensor],
    train: Any,
    queries: Any,
    *,
    rho: float,
    weight_decay: float,
    decay: str = "optimizer",
    p: float = 2.0,
    momentum: float = 0.0,
    variant: Sam = SAM,
    checkpoints: Sequence[tuple[Mapping[str, Tensor], float]] = (),
    validation: Any = None,
    tuning: Any = None,
    name: str = "trained-elsewhere",
    loss: Loss = CROSS_ENTROPY,
) -> KnownStates:
    """A run of a network that is known by its final weights, for the methods that look at these alone.

    Those are the implicit methods and gradient products. With checkpoints, `sam-gif` and `tracin-cp` with so many or
    fewer `checkpoints` work too: each point is taken to have had its equal share of every step. Nothing tells whether
    the settings are those that it was trained with: they are taken as given.

    Args:
        model: The network, from inputs [b, ...] to class logits [b, c] or what else the loss takes, in the mode that it
            was trained in.
        state: Its final weights, as `model.state_dict()` or `safetensors.torch.load_file` gives them.
        train: The training points as the network saw them: `Examples`, a pair (inputs, labels), or a dataset of such.
        queries: The queries, alike.
        rho: Perturbation radius ρ.
        weight_decay: λ.
        decay: Where it acts, see `SamRecipe`: torch's optimisers have it at ω, which is `"optimizer"`.
        p: Order of the norm that bounds the perturbation.
        momentum: μ.
        variant: SAM or a variant of it.
        checkpoints: States in the order of training, the final one apart, each with the sum of the learning rates of
            the steps that it stands for.
        validation: The validation set; None takes the queries.
        tuning: The queries that options are chosen on; None takes the validation set.
        name: What it is called in tables.
        loss: The loss of a point, see `samattr_ref.network.losses`.

    Raises:
        SamattrError: for a state that does not fit the network or holds NaN, sets that do not go together, settings out
            of range, or a network that breaks a rule (`samattr_ref.network.proof`).
    """
    splits = splits_of(examples_of(train, "the training set"), queries, validation, tuning)
    ended = _loaded(model, state, "the state")
    recipe = UnknownSteps(rho=rho, p=p, momentum=momentum, weight_decay=weight_decay, variant=variant, decay=decay)
    workload = Workload(name, Given(splits), Standing(ended), recipe, dtype=dtype_of(ended), loss=loss)
    kept, sizes = _checkpoints(model, ended, checkpoints, recipe)
    objective, omega = workload.build()
    points = workload.splits.train
    ways = prove(objective, points.x, points.y, splits.n_classes, None, omega)
    network = fingerprint(objective.module)
    origin = workload.key_of(network)
    states = kept.to(omega) if len(kept) else omega[None]
    return KnownStates(
        workload=workload,
        key=json_digest([origin, tensor_digest(states, sizes)]),
        parameters=omega,
        batches=torch.empty(0, 0, dtype=torch.int64),
        step_sizes=sizes,
        checkpoint_steps=torch.arange(len(states)),
        checkpoints=states,
        velocities=omega.new_empty(len(states), 0),
        memories=omega.new_empty(len(states), 0),
        environment={**environment(), "seconds": 0.0, "load": 0.0},
        origin=origin,
        network=network.digest,
        ways=ways,
    )


def _checkpoints(
    model: nn.Module, ended: nn.Module, given: Sequence[tuple[Mapping[str, Tensor], float]], recipe: UnknownSteps
) -> tuple[Tensor, Tensor]:
    """The checkpoints [C, P] and the sums of step sizes that they stand for, float64 [C].

    Raises:
        SamattrError: if one does not fit, or is no pair.
    """
    if len(given) and (recipe.variant.selects or recipe.variant.remembers):
        raise SamattrError(f"checkpoints say nothing of {recipe.variant.name}, which carries or draws more than ω")
    buffers = dict(ended.named_buffers())
    states, sizes = [], []
    for i, pair in enumerate(given):
        if not (isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[1], int | float) and pair[1] > 0):
            raise SamattrError(
                f"checkpoint {i} must be a pair: a state, and the sum, > 0, of the learning rates of the steps that it "
                "stands for"
            )
        module = _loaded(model, pair[0], f"checkpoint {i}")
        for name, buffer in module.named_buffers():
            if not torch.equal(buffer, buffers[name]):
                raise SamattrError(f"checkpoint {i} has another buffer '{name}' than the final state: another network")
        states.append(flat(module))
        sizes.append(float(pair[1]))
    return torch.stack(states) if states else torch.empty(0), torch.tensor(sizes, dtype=torch.float64)


def _loaded(model: nn.Module, state: Any, what: str) -> nn.Module:
    """A copy of the network with that state.

    Raises:
        SamattrError: if it does not fit.
    """
    if not isinstance(state, Mapping):
        raise SamattrError(
            f"{what} must be a state dict, not {type(state).__name__}: load a file with safetensors.torch.load_file, "
            "or torch.load(path, weights_only=True)"
        )
    module = copied(model)
    own = module.state_dict()
    missing, unknown = [name for name in own if name not in state], [name for name in state if name not in own]
    if missing or unknown:
        said = [f"it lacks {_names(missing)}"] if missing else []
        said += [f"it has {_names(unknown)}, which the network lacks"] if unknown else []
        raise SamattrError(f"{what} does not fit the network: {' and '.join(said)}")
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor) or tensor.shape != own[name].shape:
            given = list(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise SamattrError(f"'{name}' of {what} must be a tensor of shape {list(own[name].shape)}, not {given}")
        if torch.promote_types(tensor.dtype, own[name].dtype) != own[name].dtype:
            raise SamattrError(
                f"'{name}' of {what} is {tensor.dtype}, the network's {own[name].dtype}: convert the network"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise SamattrError(f"'{name}' of {what} holds NaN or infinity")
    module.load_state_dict(dict(state))
    return module


def _names(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(f"'{name}'" for name in names[:3]) + more
