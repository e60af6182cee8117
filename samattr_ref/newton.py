r"""One Newton step for the finite removal of a point, in place of the infinitesimal slope.

`sam-hif-implicit` solves A Δ_k = r_k/n with the curvature of all points. A Newton step from ω* solves for the removal
of the whole point: the Hessians are those without it,

    A_{−k} = H_{−k} + H_{−k} E H₀_{−k} + δI,    H_{−k} = H − B Λ Bᵀ/n,    H₀_{−k} = H₀ − B₀ Λ₀ B₀ᵀ/n

    A_{−k} Δ_k = (1/n) [∇ℓ_k(ω* + ê) + H_{−k} E ∇ℓ_k(ω*)]

with B = J_kᵀ [P, c] the Jacobian of the point's logits and Λ = diag π − π πᵀ: its Gauss-Newton curvature, which is its
Hessian where logits are linear in the parameters. ê and E stay those of the run: ‖g‖ may be near zero, where a step
that moved them with the point would leave the range of its own linearisation. With U = [B, H E B₀] and
V = [Bᵀ (I + E H₀_{−k}) ; B₀ᵀ] this is an update of rank 2c,

    A_{−k} = A − U diag(Λ, Λ₀) V/n,

so by Woodbury's identity one factorisation of A serves every point. Its score is the finite change of the query's loss,
ℓ_q(ω* + Δ_k) − ℓ_q(ω*): ⟨∇ℓ_q, Δ_k⟩ would throw away half of what the step gains.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from samattr_ref.data import Examples
from samattr_ref.errors import SamattrError, SolverError
from samattr_ref.implicit import Form, ImplicitOptions, ImplicitSystem
from samattr_ref.run import Run
from samattr_ref.solvers import DENSE_LIMIT
from samattr_ref.variants import Sam


def newton_change(run: Run, points: Sequence[int], form: Form, options: ImplicitOptions) -> Tensor:
    """Δ of one Newton step for removing each single point, [n_points, P].

    Args:
        run: The run.
        points: The points, each removed alone.
        form: The terms to keep; coupled, with the removal term.
        options: Curvature and damping; the full training set, a dense solve.

    Raises:
        SamattrError: for networks too large for a dense matrix, variants of SAM, or options that ask for batches.
        SolverError: if a step has no solution.
    """
    if len(run.parameters) > DENSE_LIMIT or options.batches is not None:
        raise SamattrError(f"newton takes the full training set and at most {DENSE_LIMIT} parameters")
    if type(run.workload.recipe.variant) is not Sam:
        raise SamattrError("newton is for SAM itself, not for a variant of it")
    system = ImplicitSystem(run, form, options)
    (part,) = system.parts
    n = run.n_train
    H, H0 = system.H(part).dense(), part.at_omega.dense()

    def E(v: Tensor) -> Tensor:  # noqa: N802 — the formula's name
        return system.push(part, torch.zeros_like(v), v)

    E_H0 = E(H0)
    factors = torch.linalg.lu_factor(system.dense())
    change = run.parameters.new_zeros(len(points), len(run.parameters), dtype=torch.float64)
    for row, k in zip(change, points, strict=True):
        gradient, B, Lambda = _point(run, system.at(part), k)
        gradient0, B0, Lambda0 = _point(run, part.point.omega, k)
        through, E_B0 = E(gradient0), E(B0)
        right = (gradient + H @ through - B @ Lambda @ (B.T @ through) / n) / n
        U = torch.cat([B, H @ E_B0], dim=1)
        V = torch.cat([B.T + B.T @ E_H0 - B.T @ E_B0 @ Lambda0 @ B0.T / n, B0.T])
        middle = torch.block_diag(Lambda, Lambda0) / n
        solved = torch.linalg.lu_solve(*factors, torch.cat([right, U], dim=1))
        x, Z = solved[:, :1], solved[:, 1:]
        small = torch.eye(len(middle)).to(H) - middle @ V @ Z
        row.copy_((x + Z @ torch.linalg.solve(small, middle @ (V @ x)))[:, 0])
    if not bool(change.isfinite().all()):
        raise SolverError("a Newton step has no solution: use more damping")
    return change.to(run.parameters)


def loss_changes(run: Run, queries: Examples, change: Tensor) -> Tensor:
    """ℓ_q(ω* + Δ) − ℓ_q(ω*) of each change Δ [m, P] and query, taken in float64: [m, n_query]."""
    exact, omega = queries.to(queries.x.device, torch.float64), run.parameters.double()
    before = run.query_losses(exact, omega)
    return torch.stack([run.query_losses(exact, omega + row.double()) - before for row in change]).to(change)


def _point(run: Run, omega: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """∇ℓ_k [P, 1], its logits' Jacobian B [P, c] and Λ = diag π − π πᵀ [c, c], float64."""
    x = run.train.x[k : k + 1]

    def logits(w: Tensor) -> Tensor:
        return run.objective.logits(w, x)[0]

    B = torch.autograd.functional.jacobian(logits, omega).double().T
    pi = logits(omega).detach().double().softmax(-1)
    delta = pi.clone()
    delta[run.train.y[k]] -= 1
    return (B @ delta)[:, None], B, pi.diag() - torch.outer(pi, pi)
