"""`sam-hif-fast`: `sam-hif` with the inverse replaced by a truncated Neumann series of Hessian-vector products.

    (H + H ∂ê/∂ω)⁻¹ b ≈ s Σ_{j ≤ J} (I − sA)^j b,    A = H + H ∂ê/∂ω + δI

This differs from the paper in: (1) the sources do not define "fast" beyond an efficient series of such products: this
is our reading; (2) every product runs over all training points, where LiSSA (Agarwal et al. 2017) samples them; (3) s
is 1/|λ_max| from a power iteration, so that the series converges where A's eigenvalues are positive.
"""

from dataclasses import dataclass

from samattr_ref.implicit.system import ImplicitOptions, implicit_method
from samattr_ref.methods.sam_hif import FORM
from samattr_ref.support.options import checked


@checked
@dataclass(frozen=True)
class FastOptions(ImplicitOptions):
    """`ImplicitOptions` with the Neumann series as the solver and order J = 50."""

    solver: str = "neumann"


sam_hif_fast = implicit_method(
    "sam-hif-fast",
    FORM,
    summary="sam-hif by a truncated Neumann series of order J",
    source="Ren et al., arXiv 2507.04059, Section 4; our reading",
    options=FastOptions,
    tune={"curvature": ("hessian", "gauss-newton"), "damping": (0.0, 1e-2, 1e-1)},
)
