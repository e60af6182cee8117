"""Products with curvatures of the loss, summed over samples: by forward mode, by plain autograd, or written out.

`samattr_ref.network.tried` holds one way against another, and `hessian` and `gauss_newton` choose the fastest that is
right for the network.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.func import grad, jvp, vjp, vmap

from samattr_ref.network.linear_chain import ChainLinearised
from samattr_ref.network.linearised import Linearised, flat, gradients

if TYPE_CHECKING:
    from samattr_ref.network.objective import Objective

with warnings.catch_warnings():  # torch loads forward mode at its first use, and warns of its own deprecated call
    warnings.simplefilter("ignore", FutureWarning)
    jvp(torch.sin, (torch.zeros(1),), (torch.zeros(1),))

Products = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From inputs, labels and directions v [P, m] to a curvature's products with them, summed over the samples."""


def hessian(objective: "Objective", omega: Tensor) -> Products:
    """Σ_i ∇²ℓ_i(ω) v in the fastest way that was found right."""
    if (chain := objective.chain) is not None:
        return lambda x, y, v: ChainLinearised(chain, 0.0, omega, x, y).along(v.T)[0].T * len(x)
    product = forward_hessian if objective.tried.forward else backward_hessian
    return partial(product, objective, omega)


def gauss_newton(objective: "Objective", omega: Tensor) -> Products:
    """Σ_i J_iᵀ (∂²ℓ_i/∂z_i²) J_i v in the fastest way that was found right."""
    if (chain := objective.chain) is not None:
        return lambda x, y, v: ChainLinearised(chain, 0.0, omega, x, y).gauss_newton(v.T).T * len(x)
    product = forward_gauss_newton if objective.tried.forward else backward_gauss_newton
    return partial(product, objective, omega)


def forward_products(objective: "Objective", omega: Tensor, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
    """⟨∇ℓ_i(ω), v_j⟩ for directions v [P, m], by a forward-mode pass each: [b, m]."""

    def losses(w: Tensor) -> Tensor:
        return objective.sample_losses(w, x, y)

    return torch.stack([jvp(losses, (omega,), (column,))[1] for column in v.T.contiguous()], dim=1)


def forward_hessian(objective: "Objective", omega: Tensor, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
    """Σ_i ∇²ℓ_i(ω) v for directions v [P, m], forward over reverse (Pearlmutter 1994)."""

    def total(w: Tensor) -> Tensor:
        return objective.sample_losses(w, x, y).sum()

    def product(column: Tensor) -> Tensor:
        along: Tensor = jvp(grad(total), (omega,), (column,))[1]
        return along

    return vmap(product, in_dims=1, out_dims=1)(v)


def forward_gauss_newton(objective: "Objective", omega: Tensor, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
    """Σ_i J_iᵀ (∂²ℓ_i/∂z_i²) J_i v for directions v [P, m], by a forward and a backward pass each."""

    def logits(w: Tensor) -> Tensor:
        return objective.logits(w, x)

    def product(column: Tensor) -> Tensor:
        z, change = cast(tuple[Tensor, Tensor], jvp(logits, (omega,), (column,)))
        (back,) = cast(Callable[[Tensor], tuple[Tensor]], vjp(logits, omega)[1])(
            objective.sample_loss.curvature(z, y, change)
        )
        return back

    return vmap(product, in_dims=1, out_dims=1)(v)


def backward_hessian(objective: "Objective", omega: Tensor, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
    """Σ_i ∇²ℓ_i(ω) v for directions v [P, m], by autograd through the gradient's own graph."""
    product, _ = Linearised(objective, omega, x, y, None).along(v.T.contiguous())
    return (product.T - objective.weight_decay * v) * len(x)


def backward_gauss_newton(objective: "Objective", omega: Tensor, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
    """Σ_i J_iᵀ (∂²ℓ_i/∂z_i²) J_i v for directions v [P, m], by backward passes alone.

    Jᵀ u is linear in u, so that its derivative by u along v is J v.
    """
    leaves = objective.leaves(omega)
    z, _ = objective.residuals(leaves, x, y, None)
    u = torch.zeros_like(z, requires_grad=True)
    back = gradients(z, leaves, u, create_graph=True)
    columns = []
    for column in v.T:
        (change,) = gradients(back, [u], objective.layout.views(column.contiguous()), retain_graph=True)
        columns.append(
            flat(gradients(z, leaves, objective.sample_loss.curvature(z.detach(), y, change), retain_graph=True))
        )
    return torch.stack(columns, dim=1)
