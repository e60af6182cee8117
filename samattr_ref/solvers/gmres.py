"""`gmres`, for many right-hand sides at once: a Krylov space for each, grown side by side by one product a step."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from samattr_ref.solvers.solution import Solution, Status
from samattr_ref.solvers.systems import LinearSystem, Preconditioner, begin, norms
from samattr_ref.support.memory import block_length, chunks

Product = Callable[[Tensor], Tensor]

RESTART = 200
"""The largest dimension of a Krylov space: after as many steps it is begun anew from the solution so far. Where memory
is bounded it is smaller."""


@dataclass(frozen=True)
class Gmres:
    """Restarted GMRES (Saad & Schultz 1986), preconditioned from the right.

    A P⁻¹ U = B − A X₀ is solved, and X = X₀ + P⁻¹ U: residuals are those of A X = B itself.

    Attributes:
        tolerance: Relative residual that counts as solved.
        max_iterations: The largest number of steps.
        start: X₀, [P, m]; zero where it is None.
        preconditioner: P⁻¹.
    """

    tolerance: float
    max_iterations: int
    start: Tensor | None
    preconditioner: Preconditioner

    def __call__(self, system: LinearSystem, b: Tensor) -> Solution:
        """Solve A X = B."""
        x, r = begin(system, b, self.start)
        inverse = self.preconditioner.product
        found, status, steps = _from_zero(
            lambda v: system.product(inverse(v)), r, self.tolerance * norms(b), self.max_iterations
        )
        solution = Solution(x + inverse(found), status, math.nan, steps, "gmres")
        return solution.measured(system.product, b, self.tolerance)


def _from_zero(product: Product, b: Tensor, goal: Tensor, max_iterations: int) -> tuple[Tensor, Status, int]:
    """Solve A X = B from zero.

    Args:
        product: A v for v [P, m].
        b: B, shape [P, m].
        goal: The residual norm of each column that counts as solved, [m].
        max_iterations: The largest number of steps of a column.

    Returns:
        X [P, m]; `converged`, `max_iterations`, or `stalled` where restarts gain nothing more; and the number of steps,
        each with one product with all columns that are not done.
    """
    vectors = block_length(b[:, :1].nbytes)  # the bases are the largest of what is held
    restart = min(len(b), RESTART, max_iterations, max(1, vectors - 1))
    width = max(1, vectors // (restart + 1))
    x, statuses, steps = torch.empty_like(b), set(), 0
    for columns in chunks(b.shape[1], width):
        x[:, columns], status, taken = _restarted(product, b[:, columns], goal[columns], restart, max_iterations)
        statuses.add(status)
        steps += taken
    failures = [status for status in (Status.MAX_ITERATIONS, Status.STALLED) if status in statuses]
    return x, failures[0] if failures else Status.CONVERGED, steps


def _restarted(
    product: Product, b: Tensor, goal: Tensor, restart: int, max_iterations: int
) -> tuple[Tensor, Status, int]:
    """The same for columns whose bases fit in memory together."""
    x, r, steps = torch.zeros_like(b), b.clone(), 0
    size = torch.linalg.vector_norm(r, dim=0)
    open_ = size > goal
    while bool(open_.any()) and steps < max_iterations:
        update, taken = _cycle(product, r[:, open_], goal[open_], min(restart, max_iterations - steps))
        x[:, open_] += update
        r[:, open_] = b[:, open_] - product(x[:, open_])
        steps, before, size = steps + taken, size, torch.linalg.vector_norm(r, dim=0)
        open_ = open_ & (size > goal) & (size < before)  # a restart that gained nothing would gain nothing again
    if bool(open_.any()):
        return x, Status.MAX_ITERATIONS, steps
    # Rounding can keep the true residual above a goal that the recursion has reached: the caller measures it.
    return x, Status.CONVERGED if bool((size <= 10 * goal).all()) else Status.STALLED, steps


def _cycle(product: Product, r: Tensor, goal: Tensor, limit: int) -> tuple[Tensor, int]:
    """The update of least residual from the Krylov space of each column, [P, m], and the number of steps.

    A V_k = V_{k+1} H̄, V orthonormal and H̄ [k+1, k] upper Hessenberg, and the update is V_k y with the y that minimises
    ‖‖r‖ e₁ − H̄ y‖. The minimum is ‖r‖/‖u‖ for the u with uᵀH̄ = 0 and u₀ = 1, of which each step gives the next entry
    (Ayachour 2003). A column leaves when it has reached its goal or its Krylov space ends.
    """
    size, left = torch.linalg.vector_norm(r, dim=0), torch.arange(r.shape[1], device=r.device)
    update = torch.zeros_like(r)
    V = r.new_empty(len(left), limit + 1, len(r))
    V[:, 0] = (r / size).T
    H = r.new_zeros(len(left), limit + 1, limit, dtype=torch.float64)
    u = r.new_ones(len(left), limit + 1, dtype=torch.float64)
    for k in range(limit):
        w = product(V[:, k].T).T[:, :, None]
        whole = torch.linalg.vector_norm(w, dim=1)[:, 0]
        basis = V[:, : k + 1]
        for _ in range(2):  # Gram-Schmidt twice is enough for orthogonality at rounding level (Giraud et al. 2005)
            h = torch.bmm(basis, w)
            w = torch.baddbmm(w, basis.mT, h, alpha=-1)
            H[:, : k + 1, k] += h[:, :, 0]
        rest = torch.linalg.vector_norm(w, dim=1)[:, 0]
        ended = ~(rest > 10 * torch.finfo(r.dtype).eps * whole)
        rest = torch.where(ended, 1.0, rest)
        V[:, k + 1] = w[:, :, 0] / rest[:, None]
        H[:, k + 1, k] = torch.where(ended, 0.0, rest)
        u[:, k + 1] = -(u[:, : k + 1] * H[:, : k + 1, k]).sum(1) / rest
        done = ended | (size / torch.linalg.vector_norm(u[:, : k + 2], dim=1) <= goal) | (k + 1 == limit)
        if bool(done.any()):
            y = _least_squares(H[done, : k + 2, : k + 1], size[done])
            update[:, left[done]] = torch.bmm(V[done, : k + 1].mT, y.to(r))[:, :, 0].T
            if bool(done.all()):
                return update, k + 1
            kept = ~done
            V[: int(kept.sum()), : k + 2] = V[kept, : k + 2]
            V = V[: int(kept.sum())]
            H, u, size, goal, left = H[kept], u[kept], size[kept], goal[kept], left[kept]
    raise AssertionError("a cycle has at least one step")


def _least_squares(H: Tensor, size: Tensor) -> Tensor:
    """The least y that minimises ‖size e₁ − H y‖ for each H [j, k+1, k], as [j, k, 1]; H may lack full rank.

    By singular values: torch's own choice, `gelsy`, read memory that nobody had written (PyTorch issue 187411), so that
    y was another each time, and wrong where H lacks full rank.
    """
    right = torch.zeros_like(H[:, :, :1])
    right[:, 0, 0] = size
    finite = torch.isfinite(H).all((1, 2), keepdim=True)
    y: Tensor = torch.linalg.lstsq(torch.where(finite, H, 0.0).cpu(), right.cpu(), driver="gelsd").solution
    return y
