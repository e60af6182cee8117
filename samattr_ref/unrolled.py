r"""The exact derivative of a whole SAM run by the weights of its training points, in reverse and in forward mode.

One step on a batch b, with g = ∇L_b(ω; w), ê = ê(g), G = ∇L_b(ω + ê; w):

    v' = μ v + G,    ω' = ω − η v'

and with H₀ = ∇²L_b(ω), H = ∇²L_b(ω + ê), E = ∂ê/∂g, all symmetric,

    dG = H (dω + dê) + (1/|b|) Σ_i dw_i ∇ℓ_i(ω + ê),    dê = E [H₀ dω + (1/|b|) Σ_i dw_i ∇ℓ_i(ω)].

**Forward mode** carries (dω, dv) from (0, 0) along dw, for a group of removed points dw = −1 on the group: ω_T + dω is
the edited network. **Reverse mode** carries the adjoints (a, c) of (ω_t, v_t) for a query from (∇ℓ_q(ω_T), 0) back:
with the adjoint u = c − η a of v' (and of G),

    h = H u,    a ← a + h + H₀ E h,    c ← μ u,
    dℓ_q/dw_i += (1/|b|) [⟨∇ℓ_i(ω + ê), u⟩ + ⟨∇ℓ_i(ω), E h⟩],    s[i, q] = −dℓ_q/dw_i.

So a step takes two Hessian-vector products, and the products with per-sample gradients come with them: ⟨∇ℓ_i, u⟩/|b| is
the derivative of the scalar ⟨∇L_b, u⟩ by w_i, as H u is its derivative by ω (`Objective.linearise`). Both gradients of
the step are taken with a graph, each graph is walked back once: about two to three times what the step itself took.

Leaving out both Hessian terms, a ← a, gives `sam-gif`. What is held is the states ω_t, see
`trajectory.reversed_states`.

The idea of attributing by the derivative of the run is Hara et al. 2019 (data cleansing for SGD) and Ilyas & Engstrom
2025 (MAGIC); the derivation for SAM is ours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from samattr_ref.objective import Products, chunks
from samattr_ref.run import Run
from samattr_ref.sam import perturbation, perturbation_derivative
from samattr_ref.trajectory import reversed_states, states

BATCHED_BYTES = 256 * 2**20
"""How much the directions that are carried together may take in one step."""


@dataclass(frozen=True, eq=False)
class Step:
    """One step of a run, ready to be differentiated.

    Attributes:
        batch: The points of the batch, int64 [b].
        eta: Step size η.
        omega: ω, shape [P].
        perturbed: ω + ê, shape [P].
        g: ∇L_b(ω), shape [P].
        at_omega: Directions u to H₀ u and ⟨∇ℓ_i(ω), u⟩.
        at_perturbed: Directions u to H u and ⟨∇ℓ_i(ω + ê), u⟩.
    """

    batch: Tensor
    eta: float
    omega: Tensor
    perturbed: Tensor
    g: Tensor
    at_omega: Products
    at_perturbed: Products


@dataclass(frozen=True, eq=False)
class Adjoint:
    """What reverse mode leaves at the step where it stopped.

    Attributes:
        values: −dℓ_q/dw_i through the steps that were walked back, [n_train, m].
        omega: ω at the step where it stopped, [P].
        adjoint: dℓ_q/dω there, [m, P].
        growth: The largest ‖dℓ_q/dω‖ there over that at the end.
    """

    values: Tensor
    omega: Tensor
    adjoint: Tensor
    growth: float


def step_of(run: Run, t: int, omega: Tensor) -> Step:
    """Step t of the run from ω_t, ready to be differentiated."""
    recipe = run.workload.recipe
    batch = run.batch(t).to(omega.device)
    x, y = run.train.x[batch], run.train.y[batch]
    g, at_omega = run.objective.linearise(omega, x, y)
    perturbed, at_perturbed = omega, at_omega
    if recipe.rho > 0:
        perturbed = omega + perturbation(g, recipe.rho, recipe.p)
        _, at_perturbed = run.objective.linearise(perturbed, x, y)
    return Step(batch, float(run.step_sizes[t]), omega, perturbed, g, at_omega, at_perturbed)


def reverse(run: Run, directions: Tensor, first: int = 0, memory_bytes: int | None = None) -> Adjoint:
    """Reverse mode through the steps from T − 1 down to `first`.

    Args:
        run: The run.
        directions: ∇ℓ_q(ω_T) of each query, shape [m, P].
        first: The earliest step; what was before is taken as given.
        memory_bytes: See `trajectory.reversed_states`.

    Returns:
        The scores through these steps, and what is left to attribute before them.
    """
    recipe = run.workload.recipe
    values = directions.new_zeros(run.n_train, len(directions))
    a, c = directions, torch.zeros_like(directions)
    omega = run.parameters
    for t, omega in reversed_states(run, first, memory_bytes):
        step = step_of(run, t, omega)
        parts = [
            _back(step, a[part], c[part], recipe.rho, recipe.p, recipe.momentum) for part in _columns(run, step, len(a))
        ]
        a, c, products = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        values.index_add_(0, step.batch, products.T, alpha=-1 / len(step.batch))
    norms = torch.linalg.vector_norm(directions, dim=1).clamp(min=torch.finfo(directions.dtype).tiny)
    return Adjoint(values, omega, a, float((torch.linalg.vector_norm(a, dim=1) / norms).max()))


def _back(step: Step, a: Tensor, c: Tensor, rho: float, p: float, momentum: float) -> tuple[Tensor, Tensor, Tensor]:
    """The adjoints before a step from those after it, [m, P] each, and |b| dℓ_q/dw_i, [m, b]."""
    u = torch.sub(c, a, alpha=step.eta)
    h, products = step.at_perturbed(u)
    a = a + h
    if rho > 0:
        h0, products0 = step.at_omega(perturbation_derivative(step.g, h.T, rho, p).T)
        a, products = a + h0, products + products0
    return a, momentum * u, products


def forward(run: Run, groups: Sequence[Tensor], first: int = 0) -> Tensor:
    """Forward mode: the derivative of ω_T along the removal of each group of points, [n_groups, P].

    Args:
        run: The run.
        groups: The points to remove together.
        first: The earliest step; the state before it is taken as given.
    """
    recipe = run.workload.recipe
    members = run.parameters.new_zeros(len(groups), run.n_train)
    for row, group in zip(members, groups, strict=True):
        row[group] = 1
    dw = run.parameters.new_zeros(len(groups), len(run.parameters))
    dv = torch.zeros_like(dw)
    for t, omega in states(run, range(first, run.n_steps)):
        step = step_of(run, t, omega)
        columns = _columns(run, step, len(groups))
        parts = [_ahead(run, step, dw[part], members[part][:, step.batch]) for part in columns]
        dv = torch.add(torch.cat(parts), dv, alpha=recipe.momentum)
        dw = torch.sub(dw, dv, alpha=step.eta)
    return dw


def _ahead(run: Run, step: Step, dw: Tensor, removed: Tensor) -> Tensor:
    """The change dG [m, P] of a step's gradient, from dω [m, P] and its removed points, 1 where removed, [m, b]."""
    recipe, gradients = run.workload.recipe, run.objective.weighted_gradients
    x, y = run.train.x[step.batch], run.train.y[step.batch]
    share = removed / len(step.batch)
    if recipe.rho > 0:
        dg = step.at_omega(dw)[0] - gradients(step.omega, x, y, share)
        dw = dw + perturbation_derivative(step.g, dg.T, recipe.rho, recipe.p).T
    return step.at_perturbed(dw)[0] - gradients(step.perturbed, x, y, share)


def _columns(run: Run, step: Step, count: int) -> Iterator[slice]:
    """Slices of the directions that are carried together, so that a step stays within `BATCHED_BYTES`."""
    each = len(step.batch) * run.objective.activation_bytes(run.train.x)
    each = 6 * each + 8 * run.parameters.numel() * run.parameters.element_size()
    return chunks(count, max(1, BATCHED_BYTES // each))
