r"""Chains of linear layers and activations: their derivatives of first and second order written out.

For z_l = W_l a_{l−1} + b_l, a_l = φ(z_l), a_0 the inputs and z_L the logits, with π = softmax(z_L), one-hot labels y,
residuals r = w (π − y) and a direction U of the parameters (Pearlmutter 1994), R the derivative along it:

    R z_l = W_l R a_{l−1} + U_l a_{l−1} + u_l,    R a_l = φ'(z_l) R z_l,    ⟨∇ℓ_i, U⟩ = ⟨r_i, R z_L,i⟩
    δ_L = r/|b|,    R δ_L = w (π R z_L − π ⟨π, R z_L⟩)/|b|
    ∇_l = δ_l a_{l−1}ᵀ,    β_l = W_{l+1}ᵀ δ_{l+1},    δ_l = φ'(z_l) β_l
    R ∇_l = R δ_l a_{l−1}ᵀ + δ_l R a_{l−1}ᵀ
    R δ_l = φ'(z_l) (W_{l+1}ᵀ R δ_{l+1} + U_{l+1}ᵀ δ_{l+1}) + φ''(z_l) β_l R z_l

A dozen small products, where autograd walks a graph of its own making twice, and one pass serves many directions:
about twice as fast. Samples stand last, [width, b], so that everything that is not a product runs along them. Without
the terms in δ_l that are not under R it is the Gauss-Newton product.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional

from samattr_ref.network.flat_parameters import Layout
from samattr_ref.network.matmul import matmul_t


@dataclass(frozen=True)
class Activation:
    """An activation φ.

    Attributes:
        value: z to φ(z) and φ'(z).
        bend: z, φ(z) and φ'(z) to φ''(z); None where that is zero.
    """

    value: Callable[[Tensor], tuple[Tensor, Tensor]]
    bend: Callable[[Tensor, Tensor, Tensor], Tensor] | None


def _tanh(z: Tensor) -> tuple[Tensor, Tensor]:
    a = torch.sigmoid(z + z).mul_(2).sub_(1)  # torch's tanh takes ten times its sigmoid
    return a, 1 - a * a


def _normal(z: Tensor) -> Tensor:
    return torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _gelu(z: Tensor) -> tuple[Tensor, Tensor]:
    below = 0.5 * (1 + torch.erf(z * math.sqrt(0.5)))
    return z * below, below + z * _normal(z)


def _silu(z: Tensor) -> tuple[Tensor, Tensor]:
    gate = torch.sigmoid(z)
    return z * gate, gate * (1 + z * (1 - gate))


def _silu_bend(z: Tensor, a: Tensor, slope: Tensor) -> Tensor:
    gate = torch.sigmoid(z)
    return gate * (1 - gate) * (2 + z * (1 - 2 * gate))


def _softplus(z: Tensor) -> tuple[Tensor, Tensor]:
    return functional.softplus(z), torch.sigmoid(z)


ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.Tanh: Activation(_tanh, lambda z, a, slope: -2 * a * slope),
    nn.GELU: Activation(_gelu, lambda z, a, slope: _normal(z) * (2 - z * z)),
    nn.SiLU: Activation(_silu, _silu_bend),
    nn.Softplus: Activation(_softplus, lambda z, a, slope: slope * (1 - slope)),
    nn.ReLU: Activation(lambda z: (z.clamp(min=0), (z > 0).to(z)), None),
}
"""Activations by their exact type, with the settings that they have by default."""


@dataclass(frozen=True)
class Link:
    """A linear layer and what stands behind it.

    Attributes:
        bias: Whether it has a b.
        activation: φ; None behind the last layer and where two linear layers meet.
    """

    bias: bool
    activation: Activation | None


class Chain:
    """A chain of linear layers and activations by its module's types; whether it is one by what it does must be tried.

    Args:
        module: The module.

    Raises:
        TypeError: if it is something else.
    """

    def __init__(self, module: nn.Module) -> None:
        self.layout = Layout(module)
        layers = [layer for layer in _in_order(module) if type(layer) is not nn.Flatten]
        links: list[Link] = []
        for before, layer in zip([None, *layers], layers, strict=False):
            if type(layer) is nn.Linear:
                links.append(Link(layer.bias is not None, None))
            elif type(before) is nn.Linear and type(layer) in ACTIVATIONS and _is_default(layer):
                links[-1] = Link(links[-1].bias, ACTIVATIONS[type(layer)])
            else:
                raise TypeError("not a chain of linear layers, each with an activation as it is by default")
        if any(own._forward_hooks or own._forward_pre_hooks or "forward" in vars(own) for own in module.modules()):
            raise TypeError("not a chain, since a layer has a hook or a forward pass of its own")
        if type(module) is not nn.Sequential or not links or len(self.layout.names) != sum(1 + k.bias for k in links):
            raise TypeError("not a chain, or one that shares parameters")
        self.links = links

    def split(self, vectors: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        """W and b of each layer from ω [P] or several [m, P], m in front; b as a column."""
        parts = iter(self.layout.views(vectors))
        return [(next(parts), next(parts)[..., None] if link.bias else None) for link in self.links]

    def joined(self, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
        """The vector, or vectors [m, P], of each layer's part by W [..., out, in] and by z [..., out, b]."""
        flat = []
        for link, (by_weight, by_output) in zip(self.links, parts, strict=True):
            flat.append(by_weight.flatten(-2))
            if link.bias:
                flat.append(by_output.sum(-1))
        return torch.cat(flat, dim=-1)


def _in_order(module: nn.Module) -> list[nn.Module]:
    """The layers of nested `Sequential`s in the order of their calls: one that is used twice stands there twice."""
    if type(module) is not nn.Sequential:
        return [module]
    return [layer for child in module._modules.values() if child is not None for layer in _in_order(child)]


def _is_default(layer: nn.Module) -> bool:
    return layer.extra_repr() == type(layer)().extra_repr()


class ChainLinearised:
    """∇L(ω; w) of a batch and its derivatives along many directions, as `samattr_ref.network.objective.Linearised`.

    Args:
        chain: The network.
        weight_decay: λ.
        omega: ω, shape [P].
        x: Inputs, [b, ...].
        y: Labels, [b].
        weights: w, shape [b]; 1 where it is None.
    """

    def __init__(
        self, chain: Chain, weight_decay: float, omega: Tensor, x: Tensor, y: Tensor, weights: Tensor | None = None
    ) -> None:
        self.chain, self.weight_decay, self.omega = chain, weight_decay, omega.detach()
        self.x, self.weights = x.flatten(1), weights
        self.W: list[Tensor] = []
        self.z: list[Tensor] = []
        self.a: list[Tensor] = []
        self.slopes: list[Tensor | None] = []
        a = self.x.T
        for link, (W, b) in zip(chain.links, chain.split(self.omega), strict=True):
            z = first_product(W, self.x, b) if not self.z else product(W, a, b)
            a, slope = link.activation.value(z) if link.activation else (z, None)
            self.W.append(W)
            self.z.append(z)
            self.a.append(a)
            self.slopes.append(slope)
        self.pi = torch.softmax(a, 0)
        self.residuals = self._weighted(self.pi - (torch.arange(len(a), device=y.device)[:, None] == y).to(a))

    @property
    def gradient(self) -> Tensor:
        """∇L(ω; w), shape [P]."""
        deltas = self._backward[0]
        parts = [(self._by_weight(i, delta), delta) for i, delta in enumerate(deltas)]
        return torch.add(self.chain.joined(parts), self.omega, alpha=self.weight_decay)

    def along(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """∇²L(ω; w) u [m, P], the λI included, and w_i ⟨∇ℓ_i(ω), u⟩ [m, b] for directions u [m, P]."""
        changes, Rz = self._forward(u)
        deltas, betas = self._backward
        R_delta, parts = self._output(Rz[-1]), []
        for i in reversed(range(1, len(Rz))):
            Ra = times(Rz[i - 1], self.slopes[i - 1])
            parts.append((product(deltas[i], Ra.mT, self._by_weight(i, R_delta)), R_delta))
            R_beta = product(self.W[i].T, R_delta, changes[i][0].mT @ deltas[i])
            R_delta = times(R_beta, self.slopes[i - 1])
            if (bend := self._bends[i - 1]) is not None:
                R_delta = R_delta + bend * betas[i - 1] * Rz[i - 1]
        parts.append((self._by_weight(0, R_delta), R_delta))
        return self._product(parts, u), self._sample_products(Rz, u)

    def gauss_newton(self, u: Tensor) -> Tensor:
        """The generalised Gauss-Newton matrix times u [m, P], the λI included: [m, P]."""
        R_delta, parts = self._output(self._forward(u)[1][-1]), []
        for i in reversed(range(1, len(self.W))):
            parts.append((self._by_weight(i, R_delta), R_delta))
            R_delta = times(self.W[i].T @ R_delta, self.slopes[i - 1])
        parts.append((self._by_weight(0, R_delta), R_delta))
        return self._product(parts, u)

    def sample_products(self, u: Tensor) -> Tensor:
        """The products w_i ⟨∇ℓ_i(ω), u⟩ alone, [m, b]: one forward pass."""
        return self._sample_products(self._forward(u)[1], u)

    def _forward(self, u: Tensor) -> tuple[list[tuple[Tensor, Tensor | None]], list[Tensor]]:
        """U and u_l of each layer, and R z_l; without the leading m where it is 1."""
        changes = self.chain.split(u[0] if len(u) == 1 else u)
        Rz: list[Tensor] = []
        for i, (U, b) in enumerate(changes):
            if i == 0:
                Rz.append(first_product(U, self.x, b))
            else:
                Rz.append(product(self.W[i], times(Rz[-1], self.slopes[i - 1]), product(U, self.a[i - 1], b)))
        return changes, Rz

    def _output(self, Rz: Tensor) -> Tensor:
        """R δ_L."""
        weighted = self.pi * Rz
        return self._weighted(weighted - self.pi * weighted.sum(-2, keepdim=True)) / len(self.x)

    def _by_weight(self, i: int, delta: Tensor) -> Tensor:
        """δ_l a_{l−1}ᵀ."""
        if i:
            return delta @ self.a[i - 1].T
        return matmul_t(delta.reshape(-1, len(self.x)), self.x.T).view(*delta.shape[:-1], -1)

    def _product(self, parts: list[tuple[Tensor, Tensor]], u: Tensor) -> Tensor:
        return torch.add(self.chain.joined(parts[::-1]).view(u.shape), u, alpha=self.weight_decay)

    def _sample_products(self, Rz: list[Tensor], u: Tensor) -> Tensor:
        return (self.residuals * Rz[-1]).sum(-2).view(len(u), -1)

    def _weighted(self, by_logits: Tensor) -> Tensor:
        return by_logits if self.weights is None else by_logits * self.weights

    @cached_property
    def _backward(self) -> tuple[list[Tensor], list[Tensor]]:
        """δ_l of each layer, and β_l of each but the last."""
        deltas, betas = [self.residuals / len(self.x)], []
        for W, slope in zip(reversed(self.W[1:]), reversed(self.slopes[:-1]), strict=True):
            betas.append(W.T @ deltas[-1])
            deltas.append(times(betas[-1], slope))
        return deltas[::-1], betas[::-1]

    @cached_property
    def _bends(self) -> list[Tensor | None]:
        """φ''(z_l), None where it is zero."""
        found: list[Tensor | None] = []
        for link, z, a, slope in zip(self.chain.links, self.z, self.a, self.slopes, strict=True):
            bend = link.activation.bend if link.activation else None
            found.append(bend(z, a, slope) if bend and slope is not None else None)
        return found


def product(W: Tensor, a: Tensor, plus: Tensor | None = None) -> Tensor:
    """W a, and what is added to it; with m in front of either or none, [m, out, b]."""
    if plus is None:
        return W @ a
    return torch.addmm(plus, W, a) if W.ndim == a.ndim == 2 else W @ a + plus


def first_product(W: Tensor, x: Tensor, plus: Tensor | None = None) -> Tensor:
    """W xᵀ of one layer or of several [m, out, in], the large product of a chain, and what is added: [m, out, b]."""
    z = matmul_t(W.reshape(-1, W.shape[-1]), x).view(*W.shape[:-1], len(x))
    return z if plus is None else z.add_(plus)


def times(a: Tensor, slope: Tensor | None) -> Tensor:
    """Their product; a itself where there is no activation."""
    return a if slope is None else a * slope
