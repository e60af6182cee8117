"""Which terms of the implicit derivative are kept, and how the system is solved."""

import math
from dataclasses import dataclass
from typing import Any

from samattr_ref.solvers.solve import SOLVERS
from samattr_ref.support.errors import SamattrError, unknown_name
from samattr_ref.support.options import checked


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
        if self.solver not in ("auto", *SOLVERS):
            raise unknown_name("solver", self.solver, ["auto", *SOLVERS])
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
TUNE_LARGE: dict[str, tuple[Any, ...]] = {
    "curvature": ("gauss-newton",),
    "tolerance": (1e-2,),
    "damping": (1e-2, 3e-2, 1e-1, 3e-1, 1.0),
}
"""The same where the curvature does not fit as a matrix: no solve of it takes longer than some hundred products."""
