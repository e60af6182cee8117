"""`neumann`: the truncated series x_J = s Σ_{j ≤ J} (I − sA)^j b."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from samattr_ref.solvers.solution import Solution, Status
from samattr_ref.solvers.systems import LinearSystem, norms, positive
from samattr_ref.support.errors import SolverError
from samattr_ref.support.seeds import stream


@dataclass(frozen=True)
class Neumann:
    """The truncated series, whose term j is s times the residual of x_{j−1}.

    Attributes:
        tolerance: Relative residual at which it stops before its order.
        order: J, the number of terms after the first.
        scale: s; None takes 1/|λ_max| from a power iteration.
    """

    tolerance: float
    order: int
    scale: float | None

    def __call__(self, system: LinearSystem, b: Tensor) -> Solution:
        """Solve A X = B."""
        scale = 1 / largest_eigenvalue(system, b) if self.scale is None else self.scale
        x, term, iterations = torch.zeros_like(b), b, 0
        size = norms(b)
        residual = 1.0
        while iterations <= self.order and residual > self.tolerance:
            x = x + scale * term
            term = term - scale * system.product(term)
            iterations += 1
            residual = float((norms(term) / positive(size)).max())
            if not residual < 1e6:
                return Solution(x, Status.DIVERGED, residual, iterations, "neumann")
        cut = Status.TRUNCATED if residual < 1 else Status.DIVERGED
        status = Status.CONVERGED if residual <= self.tolerance else cut
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
