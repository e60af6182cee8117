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

A run follows a removal as far as its steps reach: with A constant and the effective step sizes η̃_t, exp(−A Σ_t η̃_t) Δ
is left of Δ when it ends. The infinitesimal Δ_k falls short of the fixed point's by what the step adds, the run's own
by what is left, and both are too short: the step gains where what is left of it is less than half of what it adds, and
where more is left it goes on past the run (`fixed-point`, an experiment, measures both sides of it). There, and where A
is so near singular that the step is mostly along directions in which the run did not move, it is refused.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from samattr_ref.data import Examples
from samattr_ref.implicit.options import Form, ImplicitOptions
from samattr_ref.implicit.system import ImplicitSystem
from samattr_ref.run import Run
from samattr_ref.solvers.dense import DENSE_LIMIT
from samattr_ref.support.errors import SamattrError, SolverError
from samattr_ref.trajectory import effective_step_sizes

MOST_LEFT = 0.5
"""A step is offered where less of it is left than this share of what it adds."""

PROBES = 32
"""What a step adds and what is left of it are measured on so many points, evenly spaced."""


class NewtonStep:
    """The Newton steps of a run, from one factorisation.

    Args:
        run: The run.
        form: The terms to keep; coupled, with the removal term.
        options: Curvature and damping; the full training set, a dense solve.

    Raises:
        SamattrError: for networks too large for a dense matrix, variants of SAM, or options that ask for batches.
    """

    def __init__(self, run: Run, form: Form, options: ImplicitOptions) -> None:
        if len(run.parameters) > DENSE_LIMIT or options.batches is not None:
            raise SamattrError(f"newton takes the full training set and at most {DENSE_LIMIT} parameters")
        if not run.workload.recipe.variant.is_sam:
            raise SamattrError("newton is for SAM itself, not for a variant of it")
        if run.workload.recipe.rule.decay:
            raise SamattrError("newton is for weight decay as a part of the loss, not for the optimiser's")
        self.run = run
        self.system = ImplicitSystem(run, form, options)
        (self._part,) = self.system.parts
        self._H, H0 = self.system.H(self._part).dense(), self._part.at_omega.dense()
        self._E_H0 = self._E(H0)
        self._factors = self.system.factors()

    def change(self, points: Sequence[int]) -> Tensor:
        """Δ of removing each point alone, [n_points, P].

        Raises:
            SolverError: if a step has no solution.
        """
        return self._changes(points)[0].to(self.run.parameters)

    def reach(self) -> dict[str, float]:
        """What the step adds to the infinitesimal Δ, and what of the step the run's end left, as shares of ‖Δ‖.

        Returns:
            `newton_adds`, ‖Δ_Newton − Δ‖/‖Δ‖, and `newton_left`, ‖exp(−A Σ_t η̃_t) Δ_Newton‖/‖Δ‖, A without damping,
            over `PROBES` points.
        """
        run = self.run
        points = torch.linspace(0, run.n_train - 1, min(PROBES, run.n_train)).round().int().tolist()
        step, plain = self._changes(points)
        A = ImplicitSystem(run, self.system.form, replace(self.system.options, damping=0.0)).dense()
        left = step @ torch.linalg.matrix_exp(-float(effective_step_sizes(run).sum()) * A).T
        adds, left, size = (float(torch.linalg.matrix_norm(moved)) for moved in (step - plain, left, plain))
        return {"newton_adds": adds / size, "newton_left": left / size}

    def require(self) -> dict[str, float]:
        """`reach`, where the step gains.

        Raises:
            SamattrError: where it does not.
        """
        reach = self.reach()
        adds, left = reach["newton_adds"], reach["newton_left"]
        if not left < MOST_LEFT * adds:
            raise SamattrError(
                f"a Newton step does not help here: it adds {adds:.3g} of the infinitesimal change, and {left:.3g} of "
                "it the run was too short to follow; leave newton out, or train to a fixed point"
            )
        return reach

    def _changes(self, points: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Δ of the step and the infinitesimal Δ, float64 [n_points, P] each."""
        run, part, n, H = self.run, self._part, self.run.n_train, self._H
        step = run.parameters.new_zeros(len(points), len(run.parameters), dtype=torch.float64)
        plain = torch.zeros_like(step)
        for row, infinitesimal, k in zip(step, plain, points, strict=True):
            gradient, B, Lambda = _point(run, self.system.at(part), k)
            gradient0, B0, Lambda0 = _point(run, part.point.omega, k)
            through, E_B0 = self._E(gradient0), self._E(B0)
            whole = (gradient + H @ through) / n
            right = whole - B @ Lambda @ (B.T @ through) / n**2
            U = torch.cat([B, H @ E_B0], dim=1)
            V = torch.cat([B.T + B.T @ self._E_H0 - B.T @ E_B0 @ Lambda0 @ B0.T / n, B0.T])
            middle = torch.block_diag(Lambda, Lambda0) / n
            solved = self._factors.solve(torch.cat([whole, right, U], dim=1))
            infinitesimal.copy_(solved[:, 0])
            x, Z = solved[:, 1:2], solved[:, 2:]
            small = torch.eye(len(middle)).to(H) - middle @ V @ Z
            row.copy_((x + Z @ torch.linalg.solve_ex(small, middle @ (V @ x)).result)[:, 0])
        if not bool(step.isfinite().all()):
            raise SolverError("a Newton step has no solution: use more damping")
        return step, plain

    def _E(self, v: Tensor) -> Tensor:  # noqa: N802 — the formula's name
        return self.system.jvp(self._part, torch.zeros_like(v), v)


def loss_changes(run: Run, queries: Examples, change: Tensor) -> Tensor:
    """f_q(ω* + Δ) − f_q(ω*) of each change Δ [m, P] and query, taken in float64: [m, n_query]."""
    exact, omega = queries.to(queries.x.device, torch.float64), run.parameters.double()
    before = run.query_values(exact, omega)
    return torch.stack([run.query_values(exact, omega + row.double()) - before for row in change]).to(change)


def _point(run: Run, omega: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """∇ℓ_k [P, 1], its logits' Jacobian B [P, c] and Λ = ∂²ℓ_k/∂z², diag π − π πᵀ of cross-entropy, [c, c], float64."""
    x = run.train.x[k : k + 1]

    def outputs(w: Tensor) -> Tensor:
        return run.objective.logits(w, x)[0].flatten()

    B = torch.autograd.functional.jacobian(outputs, omega).double().T
    loss, z = run.objective.sample_loss, run.objective.logits(omega, x).detach().double()
    y = run.train.y[k : k + 1]
    y = y.double() if y.is_floating_point() else y
    delta = loss.by_outputs(z, y).flatten()
    units = torch.eye(z.numel()).to(z).view(-1, 1, *z.shape[1:])
    return (B @ delta)[:, None], B, torch.stack([loss.curvature(z, y, unit).flatten() for unit in units])
