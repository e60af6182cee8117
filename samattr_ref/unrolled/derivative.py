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

A variant of SAM has another ê(ω, g, m), carries a memory m or makes G of g and g̃ = ∇L_b(ω + ê): functions of vectors,
whose derivatives (`samattr_ref.sam.variants`) stand in the place of E and add an adjoint of m. The two products stay
two. Where weight decay is the optimiser's, ê is made of g − λω and G is g̃ − λê: then the adjoint of ê is h − λu, and ω
has another −λEᵀ of it.

Leaving out both Hessian terms, a ← a, gives `sam-gif`. What is held is the states ω_t, see
`trajectory.reversed_states`.

The idea of attributing by the derivative of the run is Hara et al. 2019 (data cleansing for SGD) and Ilyas & Engstrom
2025 (MAGIC); the derivation for SAM is ours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from samattr_ref.network.linear_chain import ChainLinearised
from samattr_ref.network.linearised import Linearised
from samattr_ref.run import Run
from samattr_ref.sam.step import Batch, State
from samattr_ref.sam.variants import Point, Rule
from samattr_ref.support.memory import block_length, chunks
from samattr_ref.trajectory import reversed_states, states


@dataclass(frozen=True, eq=False)
class Step:
    """One step of a run, ready to be differentiated.

    Attributes:
        points: The points of the batch, int64 [b].
        batch: Their inputs, as the step saw them, and labels.
        eta: Step size η.
        point: ω, g = ∇L_b(ω), the memory and, where G is made of both, g̃ = ∇L_b(ω + ê).
        perturbed: ω + ê, shape [P].
        keep: Weights c [b] of the points in g̃; None where all are 1.
        at_omega: The gradient at ω: H₀ u and ⟨∇ℓ_i(ω), u⟩ along directions u.
        at_perturbed: That at ω + ê: H u and c_i ⟨∇ℓ_i(ω + ê), u⟩.
    """

    points: Tensor
    batch: Batch
    eta: float
    point: Point
    perturbed: Tensor
    keep: Tensor | None
    at_omega: Linearised | ChainLinearised
    at_perturbed: Linearised | ChainLinearised


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


def step_of(run: Run, t: int, state: State) -> Step:
    """Step t of the run from the state before it, ready to be differentiated."""
    rule, omega, draw = run.workload.recipe.rule, state.omega, run.draw(t)
    points = run.batch(t).to(omega.device)
    batch = Batch(run.objective, run.workload.inputs(run.train.x[points], t), run.train.y[points])
    at_omega = at_perturbed = run.objective.linearise(omega, batch.x, batch.y)
    g, perturbed, keep = at_omega.gradient, omega, None
    if rule.rho > 0:
        perturbed = omega + rule.perturb(omega, g, state.memory, draw)
        keep = batch.keep(rule, omega, perturbed)
        at_perturbed = run.objective.linearise(perturbed, batch.x, batch.y, keep)
    point = Point(omega, g, state.memory, at_perturbed.gradient if rule.variant.combines else g, draw)
    return Step(points, batch, run.etas[t], point, perturbed, keep, at_omega, at_perturbed)


@dataclass(frozen=True, eq=False)
class Term:
    """What one step adds to the scores: s[i, q] is the sum of its terms over the steps.

    Attributes:
        step: The step t.
        points: The points of its batch, int64 [b].
        values: −dℓ_q/dw_i through this step, [b, m].
        omega: ω_t, before the step, [P].
        adjoint: dℓ_q/dω_t, [m, P]; overwritten by the next term.
    """

    step: int
    points: Tensor
    values: Tensor
    omega: Tensor
    adjoint: Tensor


def terms(run: Run, directions: Tensor, first: int = 0, memory_bytes: int | None = None) -> Iterator[Term]:
    """Reverse mode, step by step from T − 1 down to `first`.

    Args:
        run: The run.
        directions: ∇ℓ_q(ω_T) of each query, shape [m, P].
        first: The earliest step; what was before is taken as given.
        memory_bytes: See `trajectory.reversed_states`.
    """
    rule = run.workload.recipe.rule
    a, c = directions.clone(), torch.zeros_like(directions)
    d = directions.new_zeros(len(directions), run.memories.shape[1])
    slices = list(_columns(run, len(a)))
    for t, state in reversed_states(run, first, memory_bytes):
        step = step_of(run, t, state)
        values = directions.new_empty(len(step.points), len(directions))
        for part in slices:
            a[part], c[part], d[part], products = _back(rule, step, a[part], c[part], d[part])
            values[:, part] = products.T / -len(step.points)
        yield Term(t, step.points, values, state.omega, a)


def reverse(run: Run, directions: Tensor, first: int = 0, memory_bytes: int | None = None) -> Adjoint:
    """Reverse mode through the steps from T − 1 down to `first`: the sum of their terms.

    Args:
        run: The run.
        directions: ∇ℓ_q(ω_T) of each query, shape [m, P].
        first: The earliest step; what was before is taken as given.
        memory_bytes: See `trajectory.reversed_states`.

    Returns:
        The scores through these steps, and what is left to attribute before them.
    """
    values = directions.new_zeros(run.n_train, len(directions))
    omega, a = run.parameters, directions.clone()
    for term in terms(run, directions, first, memory_bytes):
        values.index_add_(0, term.points, term.values)
        omega, a = term.omega, term.adjoint
    return Adjoint(values, omega, a, growth(directions, a))


def growth(directions: Tensor, adjoint: Tensor) -> float:
    """The largest ‖dℓ_q/dω‖ of an adjoint [m, P] over that of the directions [m, P] that it came from."""
    norms = torch.linalg.vector_norm(directions, dim=1).clamp(min=torch.finfo(directions.dtype).tiny)
    return float((torch.linalg.vector_norm(adjoint, dim=1) / norms).max())


def _back(rule: Rule, step: Step, a: Tensor, c: Tensor, d: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The adjoints of (ω, v, memory) before a step from those after it, [m, P] each, and |b| dℓ_q/dw_i, [m, b]."""
    u = torch.sub(c, a, alpha=step.eta)
    if rule.rho == 0:
        h, products = step.at_omega.along(u)
        return a + h, rule.momentum * u, d, products
    b, b_perturbed = rule.vjp_direction(step.point, u)
    h, products = step.at_perturbed.along(b_perturbed)
    through_omega, through_g, d = rule.vjp(step.point, rule.less_decay(h, u), d)
    h0, products0 = step.at_omega.along(b + through_g)
    return a + h + through_omega + h0, rule.momentum * u, d, products + products0


def forward(run: Run, groups: Sequence[Tensor], first: int = 0) -> Tensor:
    """Forward mode: the derivative of ω_T along the removal of each group of points, [n_groups, P].

    Args:
        run: The run.
        groups: The points to remove together.
        first: The earliest step; the state before it is taken as given.
    """
    rule = run.workload.recipe.rule
    members = run.parameters.new_zeros(len(groups), run.n_train)
    for row, group in zip(members, groups, strict=True):
        row[group] = 1
    dw = run.parameters.new_zeros(len(groups), len(run.parameters))
    dv, dm = torch.zeros_like(dw), dw.new_zeros(len(groups), run.memories.shape[1])
    slices = list(_columns(run, len(groups)))
    for t, state in states(run, range(first, run.n_steps)):
        step = step_of(run, t, state)
        for part in slices:
            dG, dm[part] = _ahead(run, step, dw[part], dm[part], members[part][:, step.points])
            dv[part] = torch.add(dG, dv[part], alpha=rule.momentum)
            dw[part] = torch.sub(dw[part], dv[part], alpha=step.eta)
    return dw


def _ahead(run: Run, step: Step, dw: Tensor, dm: Tensor, removed: Tensor) -> tuple[Tensor, Tensor]:
    """The changes dG [m, P] of a step and of the memory after it, from those before and its removed points [m, b]."""
    rule, gradients = run.workload.recipe.rule, run.objective.weighted_gradients
    x, y = step.batch.x, step.batch.y
    share = removed / len(step.points)
    dg = step.at_omega.along(dw)[0] - gradients(step.point.omega, x, y, share)
    if rule.rho == 0:
        return dg, dm
    de, dm = rule.jvp(step.point, dw, dg, dm)
    kept = share if step.keep is None else share * step.keep
    d_perturbed = step.at_perturbed.along(dw + de)[0] - gradients(step.perturbed, x, y, kept)
    return rule.less_decay(rule.jvp_direction(step.point, dg, d_perturbed), de), dm


def carried_bytes(run: Run) -> int:
    """What one direction takes from step to step, with room for a few that are within one: its adjoints or changes."""
    return 10 * run.parameters.nbytes


def _columns(run: Run, count: int) -> Iterator[slice]:
    """Slices of the directions that are taken together through a step: a batch's derivatives are held along each."""
    batch = run.batches.shape[1] * run.objective.activation_bytes(run.train.x)
    return chunks(count, block_length(6 * batch + 8 * run.parameters.nbytes))
