"""A user's own training loop, recorded and taken again: a run that every method works on.

What is written down are the points and the step size of each step, the network at the first, and states on the way. A
recording is trusted only once it was taken again: `Recorder.run` trains the recorded steps by the project's own step
and holds every recorded state against it. A loop that does something else is refused, with the step at which it first
does. The run is the one that was taken again, which retraining repeats bit for bit; the user's network is within
rounding of its end.
"""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from samattr_ref.data import Augmentation
from samattr_ref.data.examples import examples_of
from samattr_ref.given import Given, Standing, copied, dtype_of, flat, splits_of
from samattr_ref.network.losses import CROSS_ENTROPY, Loss
from samattr_ref.recipe import SamRecipe
from samattr_ref.recorded import Steps, recorded_recipe
from samattr_ref.replay import compared
from samattr_ref.run import Run
from samattr_ref.sam.variants import Asam, Sam
from samattr_ref.support.errors import SamattrError, first_line
from samattr_ref.training import KEEP_ALL_BYTES, train
from samattr_ref.workload import Workload


class Recorder:
    """Records a user's own loop: one line before each step, and one after the last.

    Settings that are not given are read from the optimiser's parameter groups; those of a user's SAM have them.

    Args:
        model: The network that the loop trains, on the mean of the loss over the batch.
        train: The training points as the network sees them: `Examples`, a pair (inputs, labels), or a dataset of such.
        optimizer: The optimiser, whose step sizes are read at each step.
        rho: Perturbation radius ρ.
        p: Order of the norm that bounds the perturbation.
        momentum: μ; 0 where nothing says otherwise.
        weight_decay: λ; 0 where nothing says otherwise.
        decay: Where it acts, see `SamRecipe`: `"optimizer"` where the optimiser adds it, `"loss"` where the loop adds
            (λ/2)‖ω‖² to its loss.
        variant: SAM or a variant of it; None for SAM, or ASAM where the optimiser says `adaptive`.
        augmentation: How the loop changes the inputs of each step, see `Workload`; with the seed 0.
        loss: The loss of a point, by default cross-entropy of class logits, see `samattr_ref.network.losses`.

    Raises:
        SamattrError: for settings that are missing, out of range, not the same for all parameters, or not supported.
    """

    def __init__(
        self,
        model: nn.Module,
        train: Any,
        optimizer: Optimizer | None = None,
        *,
        rho: float | None = None,
        p: float = 2.0,
        momentum: float | None = None,
        weight_decay: float | None = None,
        decay: str = "optimizer",
        variant: Sam | None = None,
        augmentation: Augmentation | None = None,
        loss: Loss = CROSS_ENTROPY,
    ) -> None:
        self._model, self._train, self._optimizer = model, examples_of(train, "the training set"), optimizer
        self._augmentation, self._loss = augmentation, loss
        own: dict[str, Any] = _settings(model, optimizer)
        given = {"rho": rho, "momentum": momentum, "weight_decay": weight_decay, "variant": variant}
        own |= {setting: value for setting, value in given.items() if value is not None}
        if "rho" not in own:
            raise SamattrError("the perturbation radius is not known: give rho, or an optimiser whose groups have it")
        if not own.get("weight_decay"):
            decay = "loss"  # without it both are the same
        self._rule = SamRecipe(**{"weight_decay": 0.0, **own}, p=p, decay=decay)
        self._points: list[Tensor] = []
        self._step_sizes: list[float] = []
        self._initial: nn.Module | None = None
        self._states: list[tuple[int, Tensor]] = []
        self._stride = 1

    def __len__(self) -> int:
        """The number of steps that were recorded."""
        return len(self._points)

    def step(self, points: Any, step_size: float | None = None) -> None:
        """Write down what the next step is about to take: call it before the step's first gradient.

        Args:
            points: Which training points its batch holds, by their positions in the training set, each once.
            step_size: Its step size η; None reads it from the optimiser.

        Raises:
            SamattrError: for points that are not there or there twice, or a step size that is none.
        """
        t, batch = len(self), _batch(points, len(self._train.x), len(self))
        eta = _step_size(self._optimizer, t) if step_size is None else step_size
        if not (isinstance(eta, int | float) and 0 <= eta < math.inf):
            raise SamattrError(f"the step size of step {t} must be a finite number >= 0, not {eta!r}")
        if self._initial is None:
            self._initial = copied(self._model)
        self._points.append(batch)
        self._step_sizes.append(float(eta))
        if t % self._stride == 0:
            omega = flat(self._model)
            self._states.append((t, omega))
            if len(self._states) * omega.nbytes > KEEP_ALL_BYTES and len(self._states) > 2:
                self._stride *= 2
                self._states = [(step, omega) for step, omega in self._states if step % self._stride == 0]

    def run(self, queries: Any, validation: Any = None, tuning: Any = None, name: str = "recorded") -> Run:
        """Take the recorded steps again, and hold them against what was recorded: the run, if it is the same.

        Call it after the last step, before anything else changes the network.

        Args:
            queries: The queries: `Examples`, a pair (inputs, labels), or a dataset of such. They may be training
                points: what each does to itself is then among its effects.
            validation: The validation set; None takes the queries.
            tuning: The queries that options are chosen on; None takes the validation set.
            name: What the run is called in tables.

        Returns:
            The run. `environment["replay"]` says how far it was from the recording: `largest`, over the states that
            were recorded, and `end`, relative to ‖ω‖, and how many states they were.

        Raises:
            UnstableError: if the replay is another run, saying from which step on, by how much, and what it may be.
            SamattrError: if nothing was recorded, the sets do not go together, or the network breaks a rule
                (`samattr_ref.network.proof`).
        """
        if self._initial is None:
            raise SamattrError("no step was recorded: call recorder.step(points) before each step")
        end = flat(self._model)
        padded = torch.nn.utils.rnn.pad_sequence(self._points, batch_first=True, padding_value=-1)
        steps = Steps(padded, torch.tensor(self._step_sizes, dtype=torch.float64))
        workload = Workload(
            name,
            Given(splits_of(self._train, queries, validation, tuning)),
            Standing(self._initial),
            recorded_recipe(self._rule, steps),
            dtype=dtype_of(self._initial),
            augmentation=self._augmentation,
            loss=self._loss,
        )
        run = train(workload)
        recorded = [*self._states, (len(self), end)]
        return replace(run, environment={**run.environment, "replay": compared(run, recorded)})


def _settings(model: nn.Module, optimizer: Optimizer | None) -> dict[str, Any]:
    """What an optimiser's groups say of the rule.

    Raises:
        SamattrError: if groups differ, or say what is not supported, or do not train what the network has.
    """
    if optimizer is None:
        return {}
    groups: list[dict[str, Any]] = getattr(optimizer, "param_groups", None) or []
    if not groups:
        raise SamattrError(f"the optimiser must be a torch.optim.Optimizer with groups, not {type(optimizer).__name__}")
    names = {id(parameter): name for name, parameter in model.named_parameters() if parameter.requires_grad}
    held = {id(parameter) for group in groups for parameter in group["params"] if parameter.requires_grad}
    left = [name for key, name in names.items() if key not in held]
    if left or held - set(names):
        what = f"does not train '{left[0]}': set its requires_grad to False" if left else "trains other parameters too"
        raise SamattrError(f"the optimiser must train what the network has, and {what}")
    for name in ("betas", "alpha", "lr_decay", "rho_decay"):
        if name in groups[0]:
            raise SamattrError(f"the optimiser has '{name}': the base optimiser must be SGD with momentum")
    for name in ("nesterov", "dampening", "maximize"):
        if any(group.get(name) for group in groups):
            raise SamattrError(f"the optimiser has {name}: the base optimiser must be SGD with momentum, v ← μ v + G")
    found: dict[str, Any] = {
        name: _shared(groups, name) for name in ("rho", "momentum", "weight_decay") if name in groups[0]
    }
    if any(group.get("adaptive") for group in groups):
        found["variant"] = Asam(xi=0.0)
    return found


def _shared(groups: list[dict[str, Any]], name: str) -> float:
    """What all groups say.

    Raises:
        SamattrError: if they say different things.
    """
    values = [float(group[name]) for group in groups]
    if len(set(values)) > 1:
        raise SamattrError(f"the optimiser's groups have different {name} ({values[0]} and {values[1]}): give all one")
    return values[0]


def _step_size(optimizer: Optimizer | None, t: int) -> float:
    if optimizer is None:
        raise SamattrError(f"the step size of step {t} is not known: give it, or give the recorder the optimiser")
    return _shared(optimizer.param_groups, "lr")


def _batch(points: Any, n: int, t: int) -> Tensor:
    """The points of a step, int64 [b].

    Raises:
        SamattrError: if they are no positions of points, or name one twice.
    """
    try:
        given = torch.as_tensor(points).detach().cpu()
    except Exception as error:  # whatever objects that are no numbers raise
        raise SamattrError(f"the points of step {t} must be positions: {first_line(error)}") from error
    if given.ndim != 1 or not len(given) or given.is_floating_point() or given.dtype == torch.bool:
        raise SamattrError(f"the points of step {t} must be positions in the training set, whole numbers [b]")
    batch = given.to(torch.int64, copy=True)
    if int(batch.min()) < 0 or int(batch.max()) >= n:
        raise SamattrError(f"the points of step {t} lie outside 0..{n - 1}")
    if len(batch.unique()) < len(batch):
        raise SamattrError(f"the batch of step {t} holds a point twice")
    return batch
