"""`dense`: the matrix itself, by LU in float64."""

from dataclasses import dataclass

import torch
from torch import Tensor

from samattr_ref.solvers.solution import Solution, Status
from samattr_ref.solvers.systems import LinearSystem, relative_residual

DENSE_LIMIT = 4000
"""Up to this many parameters `auto` builds the matrix."""


def dense_bytes(size: int) -> int:
    """About what a dense solve with P parameters takes: curvatures, their product and factors, in float64."""
    return 9 * 8 * size**2


@dataclass(frozen=True)
class Dense:
    """LU in float64.

    Attributes:
        tolerance: Relative residual that counts as solved.
    """

    tolerance: float

    def __call__(self, system: LinearSystem, b: Tensor) -> Solution:
        """Solve A X = B."""
        A, factors, b64 = system.dense(), system.factors(), b.double()
        x = factors.solve(b64)
        residual = relative_residual(lambda v: A @ v, x, b64)
        solved = factors.regular and bool(torch.isfinite(x).all()) and residual <= max(self.tolerance, 1e-6)
        return Solution(x.to(b.dtype), Status.CONVERGED if solved else Status.SINGULAR, residual, 0, "dense")
