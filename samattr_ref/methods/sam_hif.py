"""`sam-hif`: Hessian-based influence for SAM (Ren et al., Theorem 4.5).

    Δ_k = (1/n) (H + H ∂ê/∂ω)⁻¹ ∇ℓ_k(ω* + ê),    H = ∇²L(ω* + ê),  ∂ê/∂ω = (∂ê/∂g) ∇²L(ω*)

This differs from the paper in: (1) H contains λI; (2) for a run of minibatch SAM, ê is that of the full training loss.
"""

from samattr_ref.implicit.attribution import implicit_method
from samattr_ref.implicit.options import Form

FORM = Form(perturbed=True, coupled=True, removal=False)

sam_hif = implicit_method(
    "sam-hif",
    FORM,
    summary="Hessian-based influence, with the perturbation's dependence on ω",
    source="Ren et al., arXiv 2507.04059, Theorem 4.5",
    label="SAM-HIF",
    rank=40,
)
