"""`sam-hif-fast`: `sam-hif` with the inverse replaced by a truncated Neumann series of Hessian-vector products.

    (H + H ∂ê/∂ω)⁻¹ b ≈ s Σ_{j ≤ J} (I − sA)^j b,    A = H + H ∂ê/∂ω + δI

This differs from the paper in: (1) the sources do not define "fast" beyond an efficient series of such products: this
is our reading; (2) every product runs over all training points, where LiSSA (Agarwal et al. 2017) samples them; (3) s
is 1/|λ_max| from a power iteration, so that the series converges where A's eigenvalues are positive.
"""

from dataclasses import dataclass

from samattr_ref.growth import Growth
from samattr_ref.implicit.attribution import FACTS, implicit_method
from samattr_ref.implicit.options import ImplicitOptions
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
    label="SAM-HIF fast",
    rank=50,
    growth=Growth("J n F", n=1, P=1, J=1, Q=1),
    benchmark={**FACTS["benchmark"], "order": 10, "scale": 0.1, "tolerance": 0.0},
    full_size={"curvature": "gauss-newton", "damping": 0.03, "order": 50},
)
