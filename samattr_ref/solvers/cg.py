"""`cg`: preconditioned conjugate gradients (Hestenes & Stiefel 1952) on all columns that are not done."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from samattr_ref.solvers.solution import Solution, Status
from samattr_ref.solvers.systems import LinearSystem, Preconditioner, begin, norms


@dataclass(frozen=True)
class ConjugateGradients:
    """Conjugate gradients; a system that is not symmetric is solved through AᵀA X = AᵀB (CGNR).

    Attributes:
        tolerance: Relative residual that counts as solved.
        max_iterations: The largest number of steps.
        start: Where to begin, [P, m]; zero where it is None.
        preconditioner: P⁻¹.
    """

    tolerance: float
    max_iterations: int
    start: Tensor | None
    preconditioner: Preconditioner

    def __call__(self, system: LinearSystem, b: Tensor) -> Solution:
        """Solve A X = B."""
        return self._iterate(system, b).measured(system.product, b, self.tolerance)

    def _iterate(self, system: LinearSystem, b: Tensor) -> Solution:
        x, r = begin(system, b, self.start)
        product, precondition, goal = system.product, self.preconditioner.product, self.tolerance * norms(b)
        if not system.symmetric:

            def product(v: Tensor) -> Tensor:
                return system.transpose_product(system.product(v))

            def precondition(v: Tensor) -> Tensor:
                return self.preconditioner.product(self.preconditioner.transpose_product(v))

            # ‖Aᵀr‖ bounds ‖r‖ only up to the smallest singular value: aim lower
            goal = self.tolerance**1.25 * norms(system.transpose_product(b))
            r = system.transpose_product(r)
        left = torch.nonzero(norms(r) > goal)[:, 0]
        r, goal = r[:, left], goal[left]
        direction = z = precondition(r)
        rz = (r * z).sum(0)
        for iteration in range(1, self.max_iterations + 1):
            if len(left) == 0:
                return Solution(x, Status.CONVERGED, math.nan, iteration - 1, "cg")
            there = product(direction)
            curvature = (direction * there).sum(0)
            if not bool(((curvature > 0) & (rz > 0) & torch.isfinite(curvature)).all()):
                return Solution(x, Status.NOT_POSITIVE_DEFINITE, math.nan, iteration, "cg")
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
        status = Status.MAX_ITERATIONS if len(left) else Status.CONVERGED
        return Solution(x, status, math.nan, self.max_iterations, "cg")
