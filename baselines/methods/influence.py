"""`if`: the classical influence function at ω*, which knows nothing of the perturbation (Koh & Liang 2017).

Δ_k = (1/n) H⁻¹ ∇ℓ_k(ω*),    H = ∇²L(ω*)
"""

from samattr_ref.implicit.attribution import implicit_method
from samattr_ref.implicit.options import Form

influence = implicit_method(
    "if",
    Form(perturbed=False, coupled=False, removal=False),
    summary="classical influence function at ω*, no perturbation",
    source="Koh & Liang 2017",
    label="IF",
    rank=70,
)
