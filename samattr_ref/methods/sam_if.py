"""`sam-if`: the influence function of SAM with the perturbation frozen (Ren et al., Theorem 4.3).

    Δ_k = (1/n) H⁻¹ ∇ℓ_k(ω* + ê),    H = ∇²L(ω* + ê)

This differs from the paper in: (1) H contains λI, which the theorem leaves out, since λω is part of ∇L.
"""

from samattr_ref.implicit.attribution import implicit_method
from samattr_ref.implicit.options import Form

sam_if = implicit_method(
    "sam-if",
    Form(perturbed=True, coupled=False, removal=False),
    summary="influence function at ω* + ê, the perturbation frozen",
    source="Ren et al., arXiv 2507.04059, Theorem 4.3",
    label="SAM-IF",
    rank=30,
)
