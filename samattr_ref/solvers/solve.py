"""Solvers of A X = B for many right-hand sides at once: `dense`, `cg`, `gmres`, `neumann`.

Each returns its solution with a status, the relative residual that was measured by one more product with A, and the
number of iterations. None returns numbers as if nothing had happened: `Solution.require` makes a failure an error.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from samattr_ref.solvers.gmres import gmres
from samattr_ref.support.errors import SolverError, unknown_name
from samattr_ref.support.memory import fits
from samattr_ref.support.seeds import stream

DENSE_LIMIT = 4000
"""Up to this many parameters `auto` builds the matrix."""

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
"""The relative residual that counts as solved, by the dtype of the products."""


def dense_bytes(size: int) -> int:
    """About what a dense solve with P parameters takes: curvatures, their product and factors, in float64."""
    return 9 * 8 * size**2


class LinearSystem(Protocol):
    """A square matrix A [P, P] known by its products."""

    @property
    def size(self) -> int:
        """P."""

    @property
    def symmetric(self) -> bool:
        """Whether A = Aᵀ."""

    def product(self, v: Tensor) -> Tensor:
        """A v for v [P, m]."""

    def transpose_product(self, v: Tensor) -> Tensor:
        """Aᵀ v for v [P, m]."""

    def dense(self) -> Tensor:
        """A itself, float64 [P, P]."""

    def factors(self) -> "Factors":
        """A's factors; `Factors.of(self.dense())` unless they are kept from a solve before."""


class Preconditioner(Protocol):
    """An approximate inverse P⁻¹ of A, known by its products; symmetric and positive definite where `cg` needs A so."""

    def product(self, v: Tensor) -> Tensor:
        """P⁻¹ v for v [P, m]."""

    def transpose_product(self, v: Tensor) -> Tensor:
        """P⁻ᵀ v for v [P, m]."""


class _Identity:
    """No preconditioner."""

    def product(self, v: Tensor) -> Tensor:
        return v

    transpose_product = product


@dataclass(frozen=True)
class Factors:
    """The LU factors of a matrix A, for solves with A or with Aᵀ.

    Attributes:
        lu: L and U in one matrix, float64 [P, P].
        pivots: Its row exchanges, int32 [P].
        regular: Whether no pivot is zero.
        transposed: Whether it is Aᵀ that is solved with.
    """

    lu: Tensor
    pivots: Tensor
    regular: bool
    transposed: bool = False

    @classmethod
    def of(cls, A: Tensor) -> "Factors":
        """The factors of A, float64 [P, P]."""
        lu, pivots, info = torch.linalg.lu_factor_ex(A)
        return cls(lu, pivots, int(info) == 0)

    @property
    def T(self) -> "Factors":  # noqa: N802 — as a matrix has it
        """Those of Aᵀ, in the same memory."""
        return replace(self, transposed=not self.transposed)

    def solve(self, b: Tensor) -> Tensor:
        """A⁻¹ b for b [P, m], or A⁻ᵀ b; not finite where A is singular."""
        return torch.linalg.lu_solve(self.lu, self.pivots, b, adjoint=self.transposed)


@dataclass(frozen=True)
class Transposed:
    """Aᵀ of a system A."""

    of: LinearSystem

    @property
    def size(self) -> int:
        """P."""
        return self.of.size

    @property
    def symmetric(self) -> bool:
        """Whether A = Aᵀ."""
        return self.of.symmetric

    def product(self, v: Tensor) -> Tensor:
        """Aᵀ v."""
        return self.of.transpose_product(v)

    def transpose_product(self, v: Tensor) -> Tensor:
        """A v."""
        return self.of.product(v)

    def dense(self) -> Tensor:
        """Aᵀ itself."""
        return self.of.dense().T

    def factors(self) -> Factors:
        """Those of A, transposed."""
        return self.of.factors().T


@dataclass(frozen=True)
class Solution:
    """The outcome of a solve.

    Attributes:
        x: X, shape [P, m].
        status: `converged`; `truncated` (a Neumann series cut at its order, as asked for); or a failure: `diverged`,
            `stalled`, `max_iterations`, `singular`, `not_positive_definite`.
        residual: The largest ‖b − A x‖ / ‖b‖ over the columns.
        iterations: Steps that were taken, each with one product with all columns that are not done (0 for `dense`).
        solver: The solver's name.
    """

    x: Tensor
    status: str
    residual: float
    iterations: int
    solver: str

    def require(self) -> "Solution":
        """Itself, if it solved the system or was truncated as asked for.

        Raises:
            SolverError: if it did not.
        """
        if self.status in ("converged", "truncated"):
            return self
        raise SolverError(
            f"the solver '{self.solver}' ended as '{self.status}' after {self.iterations} iterations with relative "
            f"residual {self.residual:.2g}: use more damping, curvature=gauss-newton, more iterations or solver=dense"
        )


def solve(
    system: LinearSystem,
    b: Tensor,
    solver: str = "auto",
    *,
    tolerance: float | None = None,
    max_iterations: int = 2000,
    order: int = 50,
    scale: float | None = None,
    start: Tensor | None = None,
    preconditioner: Preconditioner | None = None,
) -> Solution:
    """Solve A X = B.

    Args:
        system: A, shape [P, P].
        b: B, shape [P, m].
        solver: `dense` (LU in float64), `cg` (conjugate gradients; on the normal equations where A is not symmetric),
            `gmres`, `neumann` (a truncated series), or `auto`: `dense` up to `DENSE_LIMIT` parameters, else `cg` or
            `gmres` by symmetry.
        tolerance: Relative residual that counts as solved; by default 1e-10 in float64, 1e-4 in float32.
        max_iterations: Limit for `cg` and `gmres`.
        order: J, the number of terms after the first, for `neumann`.
        scale: s in Σ_j s (I − sA)^j, for `neumann`; by default 1/|λ_max| from a power iteration.
        start: Where `cg` and `gmres` begin, [P, m]; zero by default. It changes the number of steps, not the solution.
        preconditioner: P⁻¹ for `cg` and `gmres`. It changes the number of steps, not the solution.

    Returns:
        The solution, its status not yet looked at: call `require`.

    Raises:
        SolverError: if there is no solver of that name.
    """
    solver = resolved(solver, system.size, system.symmetric)
    tolerance = TOLERANCE[b.dtype] if tolerance is None else tolerance
    preconditioner = preconditioner or _Identity()
    if solver == "dense":
        return _dense(system, b, tolerance)
    if solver == "cg":
        return _finish(system, b, _cg(system, b, tolerance, max_iterations, start, preconditioner), tolerance)
    if solver == "gmres":
        return _finish(system, b, _gmres(system, b, tolerance, max_iterations, start, preconditioner), tolerance)
    if solver == "neumann":
        return _neumann(system, b, tolerance, order, scale)
    raise SolverError(str(unknown_name("solver", solver, ["auto", "dense", "cg", "gmres", "neumann"])))


def resolved(solver: str, size: int, symmetric: bool) -> str:
    """The solver that is meant for a matrix of that size, by its own name where it is not `auto`, see `solve`."""
    if solver != "auto":
        return solver
    if size <= DENSE_LIMIT and fits(dense_bytes(size)):
        return "dense"
    return "cg" if symmetric else "gmres"


def relative_residual(product: Callable[[Tensor], Tensor], x: Tensor, b: Tensor) -> float:
    """The largest ‖b − A x‖ / ‖b‖ over the columns; a zero column of B counts as solved by zero."""
    return float((norms(b - product(x)) / _positive(norms(b))).max())


def norms(v: Tensor) -> Tensor:
    """The 2-norm of each column."""
    return torch.linalg.vector_norm(v, dim=0)


def _positive(v: Tensor) -> Tensor:
    return torch.where(v > 0, v, 1.0)


def _finish(system: LinearSystem, b: Tensor, found: Solution, tolerance: float) -> Solution:
    """Measure the true residual; recursions drift, so a claim of convergence is held to ten times the tolerance."""
    residual = relative_residual(system.product, found.x, b)
    if found.status == "converged" and not residual <= 10 * tolerance:
        return replace(found, status="max_iterations", residual=residual)
    return replace(found, residual=residual)


def _dense(system: LinearSystem, b: Tensor, tolerance: float) -> Solution:
    A, factors, b64 = system.dense(), system.factors(), b.double()
    x = factors.solve(b64)
    residual = relative_residual(lambda v: A @ v, x, b64)
    solved = factors.regular and bool(torch.isfinite(x).all()) and residual <= max(tolerance, 1e-6)
    return Solution(x.to(b.dtype), "converged" if solved else "singular", residual, 0, "dense")


def _begin(system: LinearSystem, b: Tensor, start: Tensor | None) -> tuple[Tensor, Tensor]:
    """Where to begin, and the residual there.

    Each column of a start is scaled to its least residual, which is at most that of beginning from zero.
    """
    if start is None:
        return torch.zeros_like(b), b
    there = system.product(start)
    scale = (there * b).sum(0) / _positive((there * there).sum(0))
    return scale * start, b - scale * there


def _cg(
    system: LinearSystem,
    b: Tensor,
    tolerance: float,
    max_iterations: int,
    start: Tensor | None,
    preconditioner: Preconditioner,
) -> Solution:
    """Preconditioned conjugate gradients (Hestenes & Stiefel 1952) on all columns that are not done.

    A system that is not symmetric is solved through AᵀA X = AᵀB (CGNR), whose iterates minimise the residual.
    """
    x, r = _begin(system, b, start)
    product, precondition, goal = system.product, preconditioner.product, tolerance * norms(b)
    if not system.symmetric:

        def product(v: Tensor) -> Tensor:
            return system.transpose_product(system.product(v))

        def precondition(v: Tensor) -> Tensor:
            return preconditioner.product(preconditioner.transpose_product(v))

        # ‖Aᵀr‖ bounds ‖r‖ only up to the smallest singular value: aim lower
        goal = tolerance**1.25 * norms(system.transpose_product(b))
        r = system.transpose_product(r)
    left = torch.nonzero(norms(r) > goal)[:, 0]
    r, goal = r[:, left], goal[left]
    direction = z = precondition(r)
    rz = (r * z).sum(0)
    for iteration in range(1, max_iterations + 1):
        if len(left) == 0:
            return Solution(x, "converged", math.nan, iteration - 1, "cg")
        there = product(direction)
        curvature = (direction * there).sum(0)
        if not bool(((curvature > 0) & (rz > 0) & torch.isfinite(curvature)).all()):
            return Solution(x, "not_positive_definite", math.nan, iteration, "cg")
        alpha = rz / curvature
        x[:, left] += alpha * direction
        r = r - alpha * there
        open_ = norms(r) > goal
        if not bool(open_.all()):
            left, goal, rz = left[open_], goal[open_], rz[open_]
            r, direction = r[:, open_], direction[:, open_]
        z = precondition(r)
        before, rz = rz, (r * z).sum(0)
        direction = z + rz / before * direction
    return Solution(x, "max_iterations" if len(left) else "converged", math.nan, max_iterations, "cg")


def _gmres(
    system: LinearSystem,
    b: Tensor,
    tolerance: float,
    max_iterations: int,
    start: Tensor | None,
    preconditioner: Preconditioner,
) -> Solution:
    """A P⁻¹ U = B − A X₀ by `samattr_ref.solvers.gmres`, and X = X₀ + P⁻¹ U: residuals are those of A X = B itself."""
    x, r = _begin(system, b, start)
    found, status, steps = gmres(
        lambda v: system.product(preconditioner.product(v)), r, tolerance * norms(b), max_iterations
    )
    return Solution(x + preconditioner.product(found), status, math.nan, steps, "gmres")


def _neumann(system: LinearSystem, b: Tensor, tolerance: float, order: int, scale: float | None) -> Solution:
    """The truncated series x_J = s Σ_{j ≤ J} (I − sA)^j b, whose term j is s times the residual of x_{j−1}."""
    if scale is None:
        scale = 1 / largest_eigenvalue(system, b)
    x, term, iterations = torch.zeros_like(b), b, 0
    size = norms(b)
    residual = 1.0
    while iterations <= order and residual > tolerance:
        x = x + scale * term
        term = term - scale * system.product(term)
        iterations += 1
        residual = float((norms(term) / _positive(size)).max())
        if not residual < 1e6:
            return Solution(x, "diverged", residual, iterations, "neumann")
    status = "converged" if residual <= tolerance else "truncated" if residual < 1 else "diverged"
    return Solution(x, status, residual, iterations, "neumann")


def largest_eigenvalue(system: LinearSystem, like: Tensor, iterations: int = 30) -> float:
    """|λ_max| of A by power iteration from a seeded vector: a lower bound, close in practice."""
    v = torch.randn(system.size, 1, generator=stream(0, "power iteration"), dtype=torch.float64).to(like)
    size = 1.0
    for _ in range(iterations):
        v = v / norms(v)
        v = system.product(v)
        size = float(norms(v))
        if not 0 < size < math.inf:
            raise SolverError("the curvature is zero or not finite: a Neumann series has no scale")
    return size
