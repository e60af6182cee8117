"""One step of SAM, or of a variant: the only step function there is.

Training, retraining of many networks at once (on vectors [m, P], or by `torch.func.vmap` over it) and the derivatives
of the run all rest on it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from samattr_ref.network.linear_chain import Chain
from samattr_ref.network.objective import Objective
from samattr_ref.network.stacked import stacked_gradients
from samattr_ref.sam.variants import Draw, Rule


class State(NamedTuple):
    """What a step starts from: ω [P], the momentum buffer v [P], and the variant's memory [P], or [0] without one."""

    omega: Tensor
    velocity: Tensor
    memory: Tensor


def first_state(omega: Tensor, rule: Rule) -> State:
    """The state of a run at its start; ω [P] or several [m, P]."""
    memory = omega if rule.variant.remembers else omega[..., :0]
    return State(omega, torch.zeros_like(omega), torch.zeros_like(memory))


@dataclass(frozen=True, eq=False)
class Batch:
    """The points of a step: inputs [b, ...], labels [b], weights w [b] or None where all are 1.

    Attributes:
        objective: The training loss.
        x: Inputs.
        y: Labels.
        weights: w.
        eager: Whether gradients are by plain autograd, outside of transforms only.
    """

    objective: Objective
    x: Tensor
    y: Tensor
    weights: Tensor | None = None
    eager: bool = True

    def gradient(self, omega: Tensor, keep: Tensor | None = None) -> Tensor:
        """∇L_b(ω; w) [P], of the points weighted by c [b] where they are given."""
        weights = keep if self.weights is None else self.weights if keep is None else keep * self.weights
        gradient = self.objective.eager_gradient if self.eager else self.objective.gradient
        return gradient(omega, self.x, self.y, weights)

    def keep(self, rule: Rule, omega: Tensor, perturbed: Tensor) -> Tensor | None:
        """The weights c [b] that a variant gives the points in the perturbed gradient; None where it keeps all."""
        if not rule.variant.selects:
            return None
        before, after = (self.objective.sample_losses(w, self.x, self.y).detach() for w in (omega, perturbed))
        increase = after - before
        return rule.variant.keep(
            increase if self.weights is None else torch.where(self.weights > 0, increase, -torch.inf)
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class StackedBatch(Batch):
    """The same points for many networks at once: weights [m, b], vectors [m, P].

    Attributes:
        chain: Their structure.
    """

    chain: Chain

    def gradient(self, omega: Tensor, keep: Tensor | None = None) -> Tensor:
        """∇L_b(ω_j; w_j) of each network, [m, P]."""
        assert self.weights is not None and keep is None
        data = stacked_gradients(self.chain, omega, self.x, self.y, self.weights)
        return data + self.objective.weight_decay * omega


def sam_step(batch: Batch, state: State, eta: float | Tensor, rule: Rule, draw: Draw) -> State:
    """One step with SGD and momentum: v ← μ v + G(ω), ω ← ω − η v.

    For SAM, G(ω) = ∇L(ω + ê(ω)): L's gradient at the perturbed point, no derivative taken through ê (Foret et al.
    2021). Both gradients are of the same batch. With ρ = 0 it is plain SGD. Where weight decay is the optimiser's, as
    in torch.optim.SGD beneath a user's SAM, L is the loss of the data alone and G(ω) = ∇L(ω + ê(ω)) + λω.

    Args:
        batch: The points of the step.
        state: ω, v and the memory before it.
        eta: Step size η, a number or a tensor of one.
        rule: Variant, radius, norm and momentum.
        draw: What the step has drawn.

    Returns:
        The state after it.
    """
    omega, velocity, memory = state
    G = g = batch.gradient(omega)
    if rule.rho > 0:
        e = rule.perturb(omega, g, memory, draw)
        perturbed = omega + e
        G = rule.variant.combine(g, batch.gradient(perturbed, batch.keep(rule, omega, perturbed)))
        G = rule.less_decay(G, e)
        memory = rule.variant.remember(memory, g, draw)
    if rule.momentum:
        G = velocity = rule.momentum * velocity + G
    return State(omega - eta * G, velocity, memory)
