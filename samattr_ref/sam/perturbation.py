r"""The perturbation of sharpness-aware minimisation and its derivative.

With g = ∇L(ω), a radius ρ, p in [1, ∞] and 1/p + 1/q = 1 (Foret et al. 2021, Eq. 2),

    ê(ω) = argmax_{‖e‖_p ≤ ρ} ⟨e, g⟩ = ρ sign(g) |g|^(q−1) / (‖g‖_q^q)^(1/p) = ρ ∇_g ‖g‖_q,

so ∂ê/∂g = ρ ∇²_g ‖g‖_q is symmetric and positive semi-definite. Everything here works on flat parameter vectors and
under `torch.func` transforms.
"""

import math

import torch
from torch import Tensor

from samattr_ref.support.errors import SamattrError


def check_radius(rho: float, p: float) -> None:
    """Refuse a radius ρ that is negative or not finite, and a norm order p outside [1, ∞].

    Raises:
        SamattrError: if either is out of range.
    """
    if not (math.isfinite(rho) and rho >= 0):
        raise SamattrError(f"rho must be a finite number >= 0, not {rho}")
    if not p >= 1:
        raise SamattrError(f"p must lie in [1, inf], not {p}")


SCALES = {
    torch.float16: (2.0**-10, 2.0**15, 2.0**-12, 2.0**9),
    torch.float32: (2.0**-50, 2.0**62, 2.0**-112, 2.0**96),
    torch.float64: (2.0**-450, 2.0**500, 2.0**-806, 2.0**768),
}
"""Norms from the first to the second number lack no square that counts. Divided by the third, vectors so short that all
their squares vanish come to lie around 1, and by the fourth those so long that squares overflow. bfloat16 has the range
of float32."""


def square_scale(v: Tensor) -> Tensor:
    """What to divide vectors by before their entries are squared: 1, but for those whose squares vanish or overflow.

    A constant for derivatives, and a tensor's own choice, so that `torch.func` and `torch.compile` go through.

    Args:
        v: Vectors, shape [..., P].

    Returns:
        Scales, shape [..., 1].
    """
    low, high, least, most = SCALES.get(v.dtype, SCALES[torch.float32])
    norm: Tensor = torch.linalg.vector_norm(v.detach(), dim=-1, keepdim=True)
    return (norm / norm.clamp(low, high)).clamp(least, most)


def _inverse_norm(v: Tensor) -> Tensor:
    """1/‖v‖ of vectors [..., P] that `square_scale` has scaled, [..., 1]; 0 where v is zero, and so its derivative."""
    norm: Tensor = torch.linalg.vector_norm(v, dim=-1, keepdim=True)
    return norm.sign() / norm.clamp(min=torch.finfo(v.dtype).tiny)  # which only zero is shorter than


def perturbation(g: Tensor, rho: float, p: float = 2.0) -> Tensor:
    """The SAM perturbation ê = ρ sign(g) |g|^(q−1) / (‖g‖_q^q)^(1/p) (Foret et al. 2021, Eq. 2).

    Args:
        g: Gradient, shape [P], or several [m, P], each by itself.
        rho: Radius ρ >= 0, in the units of the parameters.
        p: Order of the norm that bounds the perturbation, in [1, ∞]. For p = 1 the whole radius goes to the largest
            coordinate, shared equally by ties: the limit of the formula as q → ∞.

    Returns:
        ê, in the shape of g, with ‖ê‖_p = ρ; zero where g is zero.

    >>> perturbation(torch.tensor([3.0, -4.0]), rho=1.0)
    tensor([ 0.6000, -0.8000])
    >>> perturbation(torch.tensor([3.0, -4.0]), rho=0.5, p=float("inf"))
    tensor([ 0.5000, -0.5000])
    """
    if p == 2:
        scaled = g / square_scale(g)  # ê does not depend on the scale of g
        return scaled * (_inverse_norm(scaled) * rho)
    if math.isinf(p):
        return rho * torch.sign(g)
    top = g.detach().abs().amax(-1, keepdim=True)
    scaled = g / torch.where(top > 0, top, 1.0)  # powers of g itself would overflow
    if p == 1:
        largest = (scaled.detach().abs() >= 1).to(g.dtype)
        return rho * torch.sign(g) * largest / largest.sum(-1, keepdim=True).clamp(min=1)
    q = p / (p - 1)
    nonzero = scaled != 0
    magnitude = torch.where(nonzero, scaled.abs(), 1.0)  # |0|^(q−1) has no finite derivative: keep it out of the graph
    power = torch.where(nonzero, magnitude**q, 0.0).sum(-1, keepdim=True)
    direction = torch.where(nonzero, torch.sign(scaled) * magnitude ** (q - 1), 0.0)
    return rho * direction / torch.where(power > 0, power, 1.0) ** (1 / p)


def perturbation_derivative(g: Tensor, v: Tensor, rho: float, p: float = 2.0) -> Tensor:
    """The product (∂ê/∂g) v in closed form, with the signs of g held fixed.

    With N = ‖g‖_q, u = sign(g) (|g|/N)^(q−1) and d = (|g|/N)^(q−2):

        (∂ê/∂g) v = ρ (q−1)/N · (d ∘ v − u ⟨u, v⟩);

    for p = 2 this is (ρ/‖g‖)(I − ĝĝᵀ) v. It is 0 for p = ∞ (q = 1), for p = 1 (ê is piecewise constant) and for g = 0.
    A coordinate of g that is exactly zero has a sign that is held at zero: its row and column are 0.

    Args:
        g: Gradient, shape [P].
        v: One direction [P] or several [P, m].
        rho: Radius ρ >= 0.
        p: Order of the norm, in [1, ∞].

    Returns:
        The product, in the shape of v.
    """
    if math.isinf(p) or p == 1:
        return torch.zeros_like(v)
    if p == 2:
        scale = square_scale(g)
        scaled = g / scale
        inverse = _inverse_norm(scaled)
        unit = scaled * inverse
        along = unit @ v
        product = (rho * inverse) * (v - (unit * along if v.ndim == 1 else torch.outer(unit, along)))
        return product.div_(scale)  # at the end: ρ/‖g‖ alone may be larger than any number
    columns = v if v.ndim == 2 else v[:, None]
    q = p / (p - 1)
    top = g.abs().amax()
    scale = torch.where(top > 0, top, 1.0)
    low, high, _, _ = SCALES.get(g.dtype, SCALES[torch.float32])
    ordinary = scale.clamp(low, high)  # what is left of the scale comes at the end, as for p = 2
    a = (g / scale).abs()
    norm = torch.linalg.vector_norm(a, q)  # ‖g‖_q = scale · norm
    norm = torch.where(norm > 0, norm, 1.0)
    nonzero = a > 0
    ratio = torch.where(nonzero, a / norm, 1.0)
    d = torch.where(nonzero, ratio ** (q - 2), 0.0)
    u = torch.where(nonzero, torch.sign(g) * ratio ** (q - 1), 0.0)
    product = (rho * (q - 1) / (ordinary * norm)) * (d[:, None] * columns - torch.outer(u, u @ columns))
    product.div_(scale / ordinary)
    return product if v.ndim == 2 else product[:, 0]
