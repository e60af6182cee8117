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

Minibatch SAM perturbs by each batch's own gradient: there is no one ê. What its noise averages out at is the mean over
batches of G_b, so with `batches` = M every term is the mean over the last M batches b, each at ω* + ê_b with its own H,
H₀ and E, and a point takes part in the batches that hold it, by 1/|b| each.

A variant of SAM has its own E, and D = ∂ê/∂ω at fixed g where ê depends on ω itself (ASAM): then ∂ê/∂ω = D + E H₀. Its
randomness is averaged over (ESAM's mask) or left out (ESAM's choice of points, GSAM's turn of the direction), and
Friendly-SAM's memory is what it is a moving average of, the full gradient.

Scores are a function of the run and the options alone, bit for bit, whatever was computed about the run before: what is
kept with it is what would be computed again, and iterations begin at an earlier solution in `warm_starts` alone.

Damping δ is added to the whole matrix. Scores are linear in the query, s[k, q] = ⟨∇ℓ_q(ω*), Δ_k⟩, and take one solve
a query with the transposed matrix, whatever n is; a group of removed points takes one solve for its Δ.
"""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from samattr_ref.data import Examples
from samattr_ref.growth import Growth
from samattr_ref.implicit.curvature import Curvature, Part, kept, parts
from samattr_ref.registry import Family, method
from samattr_ref.run import Run
from samattr_ref.sam.variants import Point
from samattr_ref.scores import Scores
from samattr_ref.solvers.preconditioner import LowRank, top_eigenvectors
from samattr_ref.solvers.solution import Solution
from samattr_ref.solvers.solve import resolved, solve
from samattr_ref.solvers.systems import Factors, Transposed
from samattr_ref.support.errors import SamattrError, unknown_name
from samattr_ref.support.memory import chunk_bytes
from samattr_ref.support.options import checked
from samattr_ref.support.seeds import tensor_digest


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


@checked
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
        batches: M, the last batches that the fixed point is a mean over; None takes the full training set as one.
        preconditioner_rank: k, how many of the curvature's leading eigenvectors precondition `cg` and `gmres`.
    """

    curvature: str = "hessian"
    damping: float = 0.0
    solver: str = "auto"
    order: int = 50
    scale: float | None = None
    tolerance: float | None = None
    max_iterations: int = 2000
    batches: int | None = None
    preconditioner_rank: int = 0

    def __post_init__(self) -> None:
        if self.curvature not in ("hessian", "gauss-newton"):
            raise unknown_name("curvature", self.curvature, ["hessian", "gauss-newton"])
        if not (math.isfinite(self.damping) and self.damping >= 0):
            raise SamattrError(f"damping must be a finite number >= 0, not {self.damping}")
        if self.order < 1 or self.max_iterations < 1:
            raise SamattrError("order and max_iterations must be at least 1")
        if not (self.tolerance is None or self.tolerance >= 0) or not (self.scale is None or self.scale > 0):
            raise SamattrError("tolerance must be at least 0, and scale larger than 0")
        if self.preconditioner_rank < 0:
            raise SamattrError(f"preconditioner_rank must be at least 0, not {self.preconditioner_rank}")


TUNE: dict[str, tuple[Any, ...]] = {
    "curvature": ("hessian", "gauss-newton"),
    "damping": (0.0, 1e-3, 1e-2, 3e-2, 1e-1),
}
"""The declared grid that curvature and damping are chosen from, on held-out queries."""

FACTS: dict[str, Any] = {
    "tune": TUNE,
    "linear": True,
    "family": Family.IMPLICIT,
    "growth": Growth("Q K n F", n=1, P=1, Q=1),
    "benchmark": {"curvature": "gauss-newton", "damping": 0.3},  # so much that iterations are as many at every size
    "full_size": {"curvature": "gauss-newton", "damping": 0.03, "tolerance": 1e-2, "max_iterations": 200},
}
"""What is true of the methods of this family, as `samattr_ref.registry.method` takes it."""


class ImplicitSystem:
    """A = mean over parts of H, or of H + H E H₀ where coupled; + δI."""

    def __init__(self, run: Run, form: Form, options: ImplicitOptions) -> None:
        self.run, self.form, self.options = run, form, options
        self.rule, self.damping = run.workload.recipe.rule, options.damping
        self.parts = parts(run, options.curvature, options.batches)
        self.coupled = form.coupled and self.rule.rho > 0
        self.moves_memory = self.rule.variant.remembers and options.batches is None
        self.symmetric = not self.coupled
        self.size = len(run.parameters)
        self.solver = resolved(options.solver, self.size, self.symmetric)
        self.by_matrix = self.solver == "dense" and options.batches is None

    def at(self, part: Part) -> Tensor:
        """Where the form evaluates training gradients, [P]."""
        return part.perturbed if self.form.perturbed else part.point.omega

    def H(self, part: Part) -> Curvature:  # noqa: N802 — the formula's name
        """The curvature there."""
        return part.at_perturbed if self.form.perturbed else part.at_omega

    def jvp(self, part: Part, d_omega: Tensor, d_g: Tensor) -> Tensor:
        """The change of ê along changes of ω and g, [P, m] each: D d_omega + E d_g."""
        if self.rule.rho == 0:
            return torch.zeros_like(d_g)
        point = _as(part.point, d_g)
        d_memory = d_g if self.moves_memory else d_g.new_zeros(len(point.memory), d_g.shape[1])
        return self.rule.jvp(point, d_omega.T, d_g.T, d_memory.T)[0].T

    def vjp(self, part: Part, v: Tensor) -> tuple[Tensor | float, Tensor]:
        """Dᵀ v and Eᵀ v for v [P, m]."""
        if self.rule.rho == 0:
            return 0.0, torch.zeros_like(v)
        point = _as(part.point, v)
        d_memory = v.new_zeros(v.shape[1], len(point.memory))
        through_omega, through_g, through_memory = self.rule.vjp(point, v.T, d_memory)
        through_g = through_g + through_memory if self.moves_memory else through_g
        return through_omega if isinstance(through_omega, float) else through_omega.T, through_g.T

    def product(self, v: Tensor) -> Tensor:
        """A v = H (v + D v + E H₀ v) + δ v."""
        return self._product(v, self.damping)

    def _product(self, v: Tensor, damping: float) -> Tensor:
        total = damping * v
        for part in self.parts:
            inner = v + self.jvp(part, v, self._times(part.at_omega, v)) if self.coupled else v
            total = total + part.share * self._times(self.H(part), inner)
        return total

    def transpose_product(self, v: Tensor) -> Tensor:
        """Aᵀ v = (I + Dᵀ + H₀ Eᵀ) H v + δ v."""
        total = self.damping * v
        for part in self.parts:
            Hv = self._times(self.H(part), v)
            if self.coupled:
                through_omega, through_g = self.vjp(part, Hv)
                Hv = Hv + through_omega + self._times(part.at_omega, through_g)
            total = total + part.share * Hv
        return total

    def dense(self) -> Tensor:
        """A itself, float64 [P, P]."""
        A = self._undamped().clone()
        A.diagonal().add_(self.damping)
        return A

    def factors(self) -> Factors:
        """A's factors; those of the run's latest dense solve are kept."""
        key, cache = (self.key, self.damping), kept(self.run)
        if cache.get("factors", (None,))[0] != key:
            cache.pop("factors", None)  # its memory is free before as much is taken again
            cache["factors"] = (key, Factors.of(self.dense()))
        return cache["factors"][1]

    @property
    def key(self) -> tuple[Any, ...]:
        """What A without δI depends on, within a run."""
        return self.form.perturbed, self.coupled, self.options.curvature, self.options.batches

    def preconditioner(self) -> LowRank | None:
        """From the curvature's leading eigenvectors, computed once a run as far as dampings share it.

        None for solvers that take none.

        Raises:
            SamattrError: if there are not so many.
        """
        rank = self.options.preconditioner_rank
        if rank == 0:
            return None
        if rank >= self.size:
            raise SamattrError(f"preconditioner_rank must be less than the number of parameters, {self.size}")
        if self.solver not in ("cg", "gmres"):
            return None
        cache = kept(self.run)
        if (key := ("leading", self.key, rank)) not in cache:
            U = self._leading(rank)
            cache[key] = U, (U.T @ self._product(U, 0.0)).double()
        U, along = cache[key]
        damping = self.damping * torch.eye(rank).to(along)
        inverse = torch.linalg.inv_ex(along + damping).inverse
        return LowRank(U, inverse.to(U), float(along.diagonal().abs().min()) + self.damping)

    def _leading(self, rank: int) -> Tensor:
        """The leading eigenvectors of the mean of H over parts, [P, rank]: coupled systems take those too."""
        cache = kept(self.run)
        if (key := ("eigenvectors", self.key[0], *self.key[2:], rank)) not in cache:

            def product(v: Tensor) -> Tensor:
                return torch.stack([part.share * self.H(part).product(v) for part in self.parts]).sum(0)

            cache[key] = top_eigenvectors(product, self.run.parameters, rank)
        return cache[key]

    def _undamped(self) -> Tensor:
        """A without δI, computed once a run: dampings share it."""
        if not self.coupled and self.options.batches is None:
            return self.H(self.parts[0]).dense()
        cache = kept(self.run)
        if (key := ("undamped", self.key)) not in cache:
            total = self.run.parameters.new_zeros(self.size, self.size, dtype=torch.float64)
            for part in self.parts:
                H = self.H(part).dense()
                if self.coupled:
                    H = H + H @ self.jvp(part, torch.eye(self.size).to(H), part.at_omega.dense())
                total += part.share * H
            cache[key] = total
        return cache[key]

    def _times(self, H: Curvature, v: Tensor) -> Tensor:
        """H v: by the matrix where the solve makes it, and nowhere else."""
        return H.matrix_product(v) if self.by_matrix else H.product(v)

    def through_removal(self, x: Tensor) -> Tensor:
        """⟨x, n r_k⟩ for every training point k, the right-hand side r_k without its 1/n, [n, m] from x [P, m]."""
        train, products = self.run.train, self.run.objective.product_chunks
        values = x.new_zeros(self.run.n_train, x.shape[1])
        for part in self.parts:
            terms = [(self.at(part), x)]
            if self.form.removal:
                inner = self.vjp(part, self._times(self.H(part), x))[1]
                terms.append((part.point.omega, inner.contiguous()))
            for omega, direction in terms:
                for rows, found in products(omega, train.x, train.y, direction, part.points):
                    share = part.share * self.run.n_train / len(part.points)
                    values.index_add_(0, part.points[rows], found, alpha=share)
        return values

    def removal(self, group: Tensor) -> Tensor:
        """Σ_k r_k over a group of removed points, [P]."""
        total = torch.zeros_like(self.run.parameters)
        gone = torch.zeros(self.run.n_train, dtype=torch.bool, device=total.device)
        gone[group.to(total.device)] = True
        for part in self.parts:
            there = part.points[gone[part.points]]
            right = self._gradient(self.at(part), there)
            if self.form.removal:
                through = self._gradient(part.point.omega, there)[:, None]
                inner = self.jvp(part, torch.zeros_like(through), through)
                right = right + self._times(self.H(part), inner)[:, 0]
            total = total + part.share / len(part.points) * right
        return total

    def _gradient(self, omega: Tensor, points: Tensor) -> Tensor:
        """Σ_k ∇ℓ_k(ω) over points, [P], without the L2 term."""
        if len(points) == 0:
            return torch.zeros_like(omega)
        train = self.run.train
        return self.run.objective.mean_gradient(omega, train.x, train.y, points) * len(points)

    def gradient_diagnostics(self) -> dict[str, Any]:
        """‖g‖, its mean over parts where there are several, and ρ/‖g‖: how near a fixed point the run ended."""
        norm = sum(part.share * float(torch.linalg.vector_norm(part.point.g)) for part in self.parts)
        return {"grad_norm": norm, "rho_over_grad_norm": self.rule.rho / norm if norm > 0 else math.inf}

    def diagnostics(self, solution: Solution) -> dict[str, Any]:
        """What must be known beside the result: how well the system was solved, and how large ρ/‖g‖ was."""
        return self.gradient_diagnostics() | {
            "solver": solution.solver,
            "status": solution.status.value,
            "residual": solution.residual,
            "iterations": solution.iterations,
            "options": asdict(self.options),
        }


def implicit_products(run: Run, directions: Tensor, form: Form, options: ImplicitOptions) -> Scores:
    """⟨d, Δ_k⟩ of every training point k and direction d, by one solve a direction: ⟨A⁻ᵀ d, r_k⟩.

    Args:
        run: The run.
        directions: d, shape [P, m].
        form: The terms to keep.
        options: Curvature, damping and solver.

    Returns:
        Scores [n_train, m].

    Raises:
        SolverError: if the system was not solved.
    """
    system = ImplicitSystem(run, form, options)
    solution = _solve(system, directions, transposed=True)
    return Scores(system.through_removal(solution.x) / run.n_train, system.diagnostics(solution))


def implicit_change(run: Run, groups: Sequence[Tensor], form: Form, options: ImplicitOptions) -> Tensor:
    """Δ of removing each group of points together, by one solve a group: [n_groups, P].

    Raises:
        SolverError: if the system was not solved.
    """
    system = ImplicitSystem(run, form, options)
    return _solve(system, torch.stack([system.removal(group) for group in groups], dim=1)).x.T.contiguous()


def implicit_method(
    name: str,
    form: Form,
    *,
    options: type[ImplicitOptions] = ImplicitOptions,
    **facts: Any,
) -> Callable[..., Scores]:
    """Register a form as a method, with its scores and its parameter change.

    Args:
        name: The method's name.
        form: The terms that it keeps.
        options: `ImplicitOptions`, or a subclass with other defaults.
        **facts: What else `samattr_ref.registry.method` takes, in the place of `FACTS`.

    Returns:
        The registered function `(run, queries, **options)`.
    """

    def change(run: Run, groups: Sequence[Tensor], **chosen: Any) -> Tensor:
        return implicit_change(run, groups, form, options(**chosen))

    def scores(run: Run, queries: Examples, **chosen: Any) -> Scores:
        return implicit_products(run, run.query_gradients(queries).T.contiguous(), form, options(**chosen))

    scores.__module__ = sys._getframe(1).f_globals["__name__"]  # where it is defined, as collections.namedtuple says it
    return method(name, change=change, options=options, **{**FACTS, **facts})(scores)


def _as(point: Point, like: Tensor) -> Point:
    omega, g, memory, g_perturbed = (tensor.to(like) for tensor in point[:4])
    return Point(omega, g, memory, g_perturbed)


_latest: ContextVar[list[tuple[Run, Any, Tensor]] | None] = ContextVar("warm starts", default=None)
"""The latest solution with the run and the system that it is of, at most one; None outside of `warm_starts`."""


@contextmanager
def warm_starts() -> Iterator[None]:
    """Within the block, iterations begin at the latest solution where only the damping was another.

    That saves steps where one damping is chosen of many, and leaves scores that depend on the order they were made in,
    within the solver's tolerance.
    """
    token = _latest.set([])
    try:
        yield
    finally:
        _latest.reset(token)


def _solve(system: ImplicitSystem, b: Tensor, transposed: bool = False) -> Solution:
    """A⁻¹ B, or A⁻ᵀ B.

    Raises:
        SolverError: if the system was not solved.
    """
    options, preconditioner, latest = system.options, system.preconditioner(), _latest.get()
    if b.nbytes > chunk_bytes():  # solutions too large for a chunk are not kept
        latest = None
    key = None if latest is None else (system.key, transposed, tensor_digest(b))
    solution = solve(
        Transposed(system) if transposed else system,
        b,
        options.solver,
        tolerance=options.tolerance,
        max_iterations=options.max_iterations,
        order=options.order,
        scale=options.scale,
        start=next((x for run, known, x in latest or [] if run is system.run and known == key), None),
        preconditioner=preconditioner.T if preconditioner and transposed else preconditioner,
    ).require()
    if latest is not None and solution.solver in ("cg", "gmres"):
        latest[:] = [(system.run, key, solution.x)]
    return solution
