"""Attribution from the condition that training ended in: the family of `if`, `sam-if`, `sam-hif`, `sam-hif-implicit`.

At a fixed point of full-batch SAM, G(ω; w) = ∇L(ω + ê(ω; w); w) = 0. Differentiating by −w_k, with H = ∇²L at ω* + ê,
H₀ = ∇²L at ω*, E = ∂ê/∂g:

    (H + H E H₀) Δ_k = (1/n) [∇ℓ_k(ω* + ê) + H E ∇ℓ_k(ω*)]

since ê moves with ω through ∂ê/∂ω = E H₀ and with w_k through E ∂g/∂w_k. The forms keep more or less of this:

| form             | evaluated at | coupling H E H₀ | removal term H E ∇ℓ_k(ω*) |
| ---------------- | ------------ | --------------- | ------------------------- |
| if               | ω*           | –               | –                         |
| sam-if           | ω* + ê       | –               | –                         |
| sam-hif          | ω* + ê       | yes             | –                         |
| sam-hif-implicit | ω* + ê       | yes             | yes                       |

Damping δ is added to the whole matrix. Scores are linear in the query, s[k, q] = ⟨∇ℓ_q(ω*), Δ_k⟩, and take one solve
a query with the transposed matrix, whatever n is; a group of removed points takes one solve for its Δ.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from samattr_ref.data import Examples
from samattr_ref.errors import SamattrError, unknown_name
from samattr_ref.registry import method
from samattr_ref.run import Run
from samattr_ref.sam import perturbation, perturbation_derivative
from samattr_ref.scores import Scores
from samattr_ref.solvers import Solution, Transposed, solve


@dataclass(frozen=True)
class Form:
    """Which terms of the implicit derivative a method keeps.

    Attributes:
        perturbed: Evaluate curvature and training gradients at ω* + ê instead of ω*.
        coupled: Keep H E H₀, the perturbation's dependence on ω.
        removal: Keep H E ∇ℓ_k(ω*), the perturbation's dependence on the removal.
    """

    perturbed: bool
    coupled: bool
    removal: bool


@dataclass(frozen=True)
class ImplicitOptions:
    """Options of the methods of this family.

    Attributes:
        curvature: `hessian` (exact) or `gauss-newton`.
        damping: δ >= 0, added to the matrix.
        solver: `auto`, `dense`, `cg`, `gmres` or `neumann`.
        order: J of `neumann`.
        scale: s of `neumann`; None measures it.
        tolerance: Relative residual that counts as solved; None goes by the dtype.
        max_iterations: Limit for `cg` and `gmres`.
    """

    curvature: str = "hessian"
    damping: float = 0.0
    solver: str = "auto"
    order: int = 50
    scale: float | None = None
    tolerance: float | None = None
    max_iterations: int = 2000

    def __post_init__(self) -> None:
        if self.curvature not in ("hessian", "gauss-newton"):
            raise unknown_name("curvature", self.curvature, ["hessian", "gauss-newton"])
        if not (math.isfinite(self.damping) and self.damping >= 0):
            raise SamattrError(f"damping must be a finite number >= 0, not {self.damping}")
        if self.order < 1 or self.max_iterations < 1:
            raise SamattrError("order and max_iterations must be at least 1")


TUNE: dict[str, tuple[Any, ...]] = {
    "curvature": ("hessian", "gauss-newton"),
    "damping": (0.0, 1e-3, 1e-2, 3e-2, 1e-1),
}
"""The declared grid that curvature and damping are chosen from, on held-out queries."""


@dataclass(frozen=True)
class FixedPoint:
    """ω* and the full-batch perturbation there: g = ∇L(ω*), ê, and where curvature is taken."""

    omega: Tensor
    g: Tensor
    perturbed: Tensor

    @classmethod
    def of(cls, run: Run) -> "FixedPoint":
        """The fixed point of a run; the perturbation is that of the full training loss, whatever the batches were."""
        recipe = run.workload.recipe
        g = run.gradient(run.parameters)
        return cls(run.parameters, g, run.parameters + perturbation(g, recipe.rho, recipe.p))


class Curvature:
    """∇²L or its Gauss-Newton approximation at one point, over the full training set, λI included."""

    def __init__(self, run: Run, omega: Tensor, kind: str) -> None:
        self.run, self.omega = run, omega
        objective = run.objective
        self._product = objective.hessian_product if kind == "hessian" else objective.gauss_newton_product
        self._dense: Tensor | None = None

    def product(self, v: Tensor) -> Tensor:
        """The product with v [P, m]."""
        if self._dense is not None:
            return (self._dense @ v.double()).to(v)
        return self._product(self.omega, self.run.train.x, self.run.train.y, v)

    def dense(self) -> Tensor:
        """The matrix itself, float64 [P, P], computed once."""
        if self._dense is None:
            identity = torch.eye(len(self.omega), dtype=self.omega.dtype, device=self.omega.device)
            matrix = self.product(identity).double()
            self._dense = (matrix + matrix.T) / 2
        return self._dense


def curvature(run: Run, omega: Tensor, where: str, kind: str) -> Curvature:
    """The curvature at one of the run's points, computed once a run (`where` names the point)."""
    key = ("curvature", where, kind)
    if key not in run.cache:
        run.cache[key] = Curvature(run, omega, kind)
    return run.cache[key]


class ImplicitSystem:
    """A = H + δI, with H E H₀ added where coupled."""

    def __init__(self, run: Run, form: Form, options: ImplicitOptions) -> None:
        recipe = run.workload.recipe
        self.run, self.kind = run, options.curvature
        self.rho, self.p = recipe.rho, recipe.p
        self.point = FixedPoint.of(run)
        self.at = self.point.perturbed if form.perturbed else self.point.omega
        self.H = curvature(run, self.at, "perturbed" if form.perturbed else "final", options.curvature)
        self.H0 = curvature(run, self.point.omega, "final", options.curvature)
        self.coupled = form.coupled and self.rho > 0
        self.symmetric = not self.coupled
        self.damping = options.damping
        self.size = len(self.point.omega)

    def E(self, v: Tensor) -> Tensor:  # noqa: N802 — the formula's name
        """(∂ê/∂g) v for v [P, m]; symmetric."""
        return perturbation_derivative(self.point.g.to(v), v, self.rho, self.p)

    def product(self, v: Tensor) -> Tensor:
        """A v = H (v + E H₀ v) + δ v."""
        inner = v + self.E(self.H0.product(v)) if self.coupled else v
        return self.H.product(inner) + self.damping * v

    def transpose_product(self, v: Tensor) -> Tensor:
        """Aᵀ v = (I + H₀ E) H v + δ v."""
        Hv = self.H.product(v)
        return (Hv + self.H0.product(self.E(Hv)) if self.coupled else Hv) + self.damping * v

    def dense(self) -> Tensor:
        """A itself, float64 [P, P]."""
        A = (self._coupled_dense() if self.coupled else self.H.dense()).clone()
        A.diagonal().add_(self.damping)
        return A

    def _coupled_dense(self) -> Tensor:
        """H + H E H₀, computed once a run: dampings share it."""
        key = ("coupled", self.kind)
        if key not in self.run.cache:
            H = self.H.dense()
            self.run.cache[key] = H + H @ self.E(self.H0.dense())
        return self.run.cache[key]

    def diagnostics(self, solution: Solution, options: ImplicitOptions) -> dict[str, Any]:
        """What must be known beside the result: how well the system was solved, and how large ρ/‖g‖ was."""
        norm = float(torch.linalg.vector_norm(self.point.g))
        return {
            "grad_norm": norm,
            "rho_over_grad_norm": self.rho / norm if norm > 0 else math.inf,
            "solver": solution.solver,
            "status": solution.status,
            "residual": solution.residual,
            "iterations": solution.iterations,
            "options": asdict(options),
        }


def implicit_scores(run: Run, queries: Examples, form: Form, options: ImplicitOptions) -> Scores:
    """s[k, q] = (1/n) ⟨A⁻ᵀ ∇ℓ_q(ω*), r_k⟩ with r_k = ∇ℓ_k(ω* + ê) [+ H E ∇ℓ_k(ω*)].

    Returns:
        Scores [n_train, n_query].

    Raises:
        SolverError: if the system was not solved.
    """
    system = ImplicitSystem(run, form, options)
    solution = _solve(Transposed(system), run.query_gradients(queries).T.contiguous(), options)
    x, y = run.train.x, run.train.y
    values = run.objective.gradient_products(system.at, x, y, solution.x)
    if form.removal:
        through_perturbation = system.E(system.H.product(solution.x))
        values = values + run.objective.gradient_products(system.point.omega, x, y, through_perturbation)
    return Scores(values / run.n_train, system.diagnostics(solution, options))


def implicit_change(run: Run, groups: Sequence[Tensor], form: Form, options: ImplicitOptions) -> Tensor:
    """Δ of removing each group of points together, by one solve a group: [n_groups, P].

    Raises:
        SolverError: if the system was not solved.
    """
    system = ImplicitSystem(run, form, options)
    columns = []
    for group in groups:
        right = _group_gradient(run, system.at, group)
        if form.removal:
            inner = system.E(_group_gradient(run, system.point.omega, group)[:, None])
            right = right + system.H.product(inner)[:, 0]
        columns.append(right / run.n_train)
    return _solve(system, torch.stack(columns, dim=1), options).x.T.contiguous()


def implicit_method(
    name: str,
    form: Form,
    *,
    summary: str,
    source: str,
    options: type[ImplicitOptions] = ImplicitOptions,
    tune: Mapping[str, tuple[Any, ...]] = TUNE,
) -> Callable[..., Scores]:
    """Register a form as a method, with its scores and its parameter change.

    Args:
        name: The method's name.
        form: The terms that it keeps.
        summary: What it computes, in one line.
        source: Where it comes from.
        options: `ImplicitOptions`, or a subclass with other defaults.
        tune: The grid that its options are chosen from, on held-out queries.

    Returns:
        The registered function `(run, queries, **options)`.
    """

    def change(run: Run, groups: Sequence[Tensor], **chosen: Any) -> Tensor:
        return implicit_change(run, groups, form, options(**chosen))

    @method(name, summary=summary, source=source, change=change, options=options, tune=tune, linear=True)
    def scores(run: Run, queries: Examples, **chosen: Any) -> Scores:
        return implicit_scores(run, queries, form, options(**chosen))

    scores.__module__ = sys._getframe(1).f_globals["__name__"]  # where it is defined, as collections.namedtuple says it
    return scores


def _solve(system: ImplicitSystem | Transposed, b: Tensor, options: ImplicitOptions) -> Solution:
    solution = solve(
        system,
        b,
        options.solver,
        tolerance=options.tolerance,
        max_iterations=options.max_iterations,
        order=options.order,
        scale=options.scale,
    )
    return solution.require()


def _group_gradient(run: Run, omega: Tensor, group: Tensor) -> Tensor:
    """Σ_{k in group} ∇ℓ_k(ω) [P], without the L2 term."""
    if len(group) == 0:
        return torch.zeros_like(omega)
    x, y = run.train.x[group], run.train.y[group]
    mean = run.objective.eager_gradient(omega, x, y) - run.objective.weight_decay * omega
    return mean * len(group)
