"""`sam-hif-implicit`: the full implicit derivative of G(ω; w) = 0, which also follows what the removal does to ê.

    Δ_k = (1/n) (H + H ∂ê/∂ω)⁻¹ [∇ℓ_k(ω* + ê) + H (∂ê/∂g) ∇ℓ_k(ω*)]

The paper's Theorem 4.5 differentiates ê by ω but not by the removed weight; this form does both.
"""

from samattr_ref.implicit import Form, implicit_method

FORM = Form(perturbed=True, coupled=True, removal=True)

sam_hif_implicit = implicit_method(
    "sam-hif-implicit",
    FORM,
    summary="the full implicit derivative of the SAM fixed point",
    source="this project",
)
