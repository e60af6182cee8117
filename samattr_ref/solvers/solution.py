"""What a solve ends as: a solution with a status that says whether it is one, and what to do where it is not."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from torch import Tensor

from samattr_ref.solvers.systems import relative_residual
from samattr_ref.support.errors import SolverError


class Status(StrEnum):
    """How a solve ended.

    Attributes:
        advice: What to do about a failure; empty where the solve did what it was asked for.
    """

    advice: str

    def __new__(cls, name: str, advice: str = "") -> "Status":
        """A status of that name."""
        status = str.__new__(cls, name)
        status._value_, status.advice = name, advice
        return status

    CONVERGED = "converged"
    TRUNCATED = "truncated"
    """A Neumann series that was cut at its order, as asked for."""
    DIVERGED = "diverged", "a smaller scale, more damping, or solver=cg or gmres"
    STALLED = "stalled", "more damping, or solver=dense"
    MAX_ITERATIONS = "max_iterations", "a larger max_iterations, more damping, a preconditioner_rank, or solver=dense"
    SINGULAR = "singular", "more damping, or curvature=gauss-newton with some"
    NOT_POSITIVE_DEFINITE = "not_positive_definite", "curvature=gauss-newton, more damping, or solver=gmres or dense"


@dataclass(frozen=True)
class Solution:
    """The outcome of a solve.

    Attributes:
        x: X, shape [P, m].
        status: How it ended.
        residual: The largest ‖b − A x‖ / ‖b‖ over the columns.
        iterations: Steps that were taken, each with one product with all columns that are not done (0 for `dense`).
        solver: The solver's name.
    """

    x: Tensor
    status: Status
    residual: float
    iterations: int
    solver: str

    def require(self) -> "Solution":
        """Return it, if it solved the system or was truncated as asked for.

        Raises:
            SolverError: if it did not, with what to do.
        """
        if not self.status.advice:
            return self
        raise SolverError(
            f"the solver '{self.solver}' ended as '{self.status}' after {self.iterations} iterations with relative "
            f"residual {self.residual:.2g}: try {self.status.advice}"
        )

    def measured(self, product: Callable[[Tensor], Tensor], b: Tensor, tolerance: float) -> "Solution":
        """Measure the true residual; recursions drift, so a claim of convergence is held to ten times the tolerance."""
        residual = relative_residual(product, self.x, b)
        drifted = self.status is Status.CONVERGED and not residual <= 10 * tolerance
        return replace(self, status=Status.MAX_ITERATIONS if drifted else self.status, residual=residual)
