"""Training that diverged: after which step, and what to do about it."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from samattr_ref.data import Examples
from samattr_ref.network.objective import Objective
from samattr_ref.recipe import SamRecipe
from samattr_ref.sam.step import State
from samattr_ref.support.errors import UnstableError

GROWN = 100.0
"""Training is lost where its loss is more than so many times what it was at the start, or than `LEAST`."""

LEAST = 1.0
"""Nats: less is no loss that is lost, however good the network was that training began with."""

POINTS = 256
"""The loss is that of the first so many training points."""

Lost = Callable[[Tensor], bool]
"""Whether training is lost at some parameters [P]."""


def lost_from(objective: Objective, train: Examples, initial: Tensor) -> Lost:
    """What says whether a training from some parameters on is lost: others are not finite, or the loss has grown."""

    @torch.no_grad()
    def loss(omega: Tensor) -> float:
        return float(objective.loss(omega, train.x[:POINTS], train.y[:POINTS]))

    return lambda omega: not (bool(torch.isfinite(omega).all()) and loss(omega) <= GROWN * max(loss(initial), LEAST))


def diverged(
    name: str, recipe: SamRecipe, kept: Iterable[tuple[int, State]], step: Callable[[int, State], State], lost: Lost
) -> UnstableError:
    """The error for a training that is lost.

    Args:
        name: What was trained.
        recipe: How.
        kept: Steps t, ascending and from 0, with the states before them.
        step: A step t, from the state before it to that after it; taken again from the last state that is not lost.
        lost: What says whether it is lost.
    """
    start, state = next(iter(kept))
    for t, later in kept:
        if lost(later.omega):
            break
        start, state = t, later
    while start < recipe.steps and not lost(state.omega):
        start, state = start + 1, step(start, state)
    decays = recipe.learning_rate * recipe.weight_decay > 1
    large = {"learning_rate": True, "rho": recipe.rho > 0, "weight_decay": decays}
    blamed = [f"{setting} ({getattr(recipe, setting):g})" for setting, may_be in large.items() if may_be]
    return UnstableError(f"training of {name} diverged at step {start} of {recipe.steps}: lower {' or '.join(blamed)}")
