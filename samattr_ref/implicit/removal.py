"""The right-hand sides r_k of the implicit derivative: what removing a point does to the condition itself."""

import torch
from torch import Tensor

from samattr_ref.implicit.system import ImplicitSystem


def through_removal(system: ImplicitSystem, x: Tensor) -> Tensor:
    """⟨x, n r_k⟩ for every training point k, the right-hand side r_k without its 1/n, [n, m] from x [P, m]."""
    train, products = system.run.train, system.run.objective.product_chunks
    values = x.new_zeros(system.run.n_train, x.shape[1])
    for part in system.parts:
        terms = [(system.at(part), x)]
        if system.form.removal:
            inner = system.vjp(part, system.rule.less_decay(system.times(system.H(part), x), x))[1]
            terms.append((part.point.omega, inner.contiguous()))
        for omega, direction in terms:
            for rows, found in products(omega, train.x, train.y, direction, part.points):
                share = part.share * system.run.n_train / len(part.points)
                values.index_add_(0, part.points[rows], found, alpha=share)
    return values


def removal(system: ImplicitSystem, group: Tensor) -> Tensor:
    """Σ_k r_k over a group of removed points, [P]."""
    total = torch.zeros_like(system.run.parameters)
    gone = torch.zeros(system.run.n_train, dtype=torch.bool, device=total.device)
    gone[group.to(total.device)] = True
    for part in system.parts:
        there = part.points[gone[part.points]]
        right = _gradient(system, system.at(part), there)
        if system.form.removal:
            through = _gradient(system, part.point.omega, there)[:, None]
            inner = system.jvp(part, torch.zeros_like(through), through)
            right = right + system.rule.less_decay(system.times(system.H(part), inner), inner)[:, 0]
        total = total + part.share / len(part.points) * right
    return total


def _gradient(system: ImplicitSystem, omega: Tensor, points: Tensor) -> Tensor:
    """Σ_k ∇ℓ_k(ω) over points, [P], without the L2 term."""
    if len(points) == 0:
        return torch.zeros_like(omega)
    train = system.run.train
    return system.run.objective.mean_gradient(omega, train.x, train.y, points) * len(points)
