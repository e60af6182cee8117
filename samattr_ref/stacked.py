r"""Gradients of many networks of one structure on the same batch, in one pass: retrainings step together.

Samples never meet in a network, so m networks on b points are one network on b·m samples, sample by sample and network
by network within: every layer without parameters runs as it is. A layer with parameters keeps m of them:

- where its input is the batch itself, the same for all networks, W_1 … W_m stand below one another and one large
  product serves them all, forward and for their gradients; a convolution has m times the output channels;
- behind it, linear layers are a batched product, convolutions have m times as many groups, norms scale and shift each
  network's part.

That is several times faster than `vmap` over one network, whose shared first layer is a batch of small products. A
module that has other layers, or uses one in another way than its type says, is tried and refused: `vmap` takes it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from samattr_ref.bound import bind
from samattr_ref.layout import Layout

if TYPE_CHECKING:
    from samattr_ref.objective import Objective


@dataclass(frozen=True)
class Stack:
    """How many networks, and on how many points.

    Attributes:
        m: Networks.
        b: Points.
    """

    m: int
    b: int

    def shared(self, x: Tensor) -> bool:
        """Whether this is still the batch itself, the same for all networks."""
        return self.m > 1 and len(x) == self.b

    def networks_first(self, x: Tensor) -> Tensor:
        """[b·m, ...] as [m, b, ...], a view."""
        return x.view(self.b, self.m, *x.shape[1:]).transpose(0, 1)

    def samples_first(self, x: Tensor) -> Tensor:
        """[m, b, ...] as [b·m, ...]."""
        return x.transpose(0, 1).reshape(self.b * self.m, *x.shape[2:])


def _linear(layer: nn.Module, stack: Stack, x: Tensor) -> Tensor:
    assert isinstance(layer, nn.Linear)
    weight, bias = layer.weight, layer.bias
    m, out, width = weight.shape
    if stack.shared(x):
        together = None if bias is None else bias.reshape(m * out)
        z = functional.linear(x, weight.reshape(m * out, width), together)
        if x.ndim == 2:
            return z.view(stack.b * m, out)
        return z.unflatten(-1, (m, out)).movedim(-2, 1).reshape(stack.b * m, *x.shape[1:-1], out)
    rows = stack.networks_first(x)
    flat = rows.reshape(m, -1, width)
    z = flat @ weight.transpose(1, 2) if bias is None else torch.baddbmm(bias[:, None], flat, weight.transpose(1, 2))
    return stack.samples_first(z.view(m, stack.b, *x.shape[1:-1], out))


def _convolution(layer: nn.Module, stack: Stack, x: Tensor) -> Tensor:
    assert isinstance(layer, nn.Conv2d)
    m, out = layer.weight.shape[:2]
    weight = layer.weight.reshape(m * out, *layer.weight.shape[2:])
    bias = None if layer.bias is None else layer.bias.reshape(m * out)
    groups = layer.groups
    if stack.shared(x):
        assert groups == 1
    else:
        x, groups = x.view(stack.b, m * x.shape[1], *x.shape[2:]), groups * m
    z = functional.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation, groups)
    return z.view(stack.b * m, out, *z.shape[2:])


def _group_norm(layer: nn.Module, stack: Stack, x: Tensor) -> Tensor:
    assert isinstance(layer, nn.GroupNorm)
    return _scaled(layer, stack, functional.group_norm(x, layer.num_groups, None, None, layer.eps), 1)


def _layer_norm(layer: nn.Module, stack: Stack, x: Tensor) -> Tensor:
    assert isinstance(layer, nn.LayerNorm)
    normal = functional.layer_norm(x, layer.normalized_shape, None, None, layer.eps)
    return _scaled(layer, stack, normal, x.ndim - len(layer.normalized_shape))


def _scaled(layer: nn.GroupNorm | nn.LayerNorm, stack: Stack, x: Tensor, axis: int) -> Tensor:
    """Scale and shift along the dimensions from `axis` on, each network's part by its own."""

    def shaped(parameter: Tensor) -> Tensor:
        behind = x.ndim - axis - (parameter.ndim - 1)
        each = parameter.view(parameter.shape[0], *[1] * (axis - 1), *parameter.shape[1:], *[1] * behind)
        return each.repeat(stack.b, *[1] * (each.ndim - 1))

    if stack.shared(x):
        x = x.repeat_interleave(stack.m, 0)
    x = x * shaped(layer.weight)
    return x if layer.bias is None else x + shaped(layer.bias)


def _embedding(layer: nn.Module, stack: Stack, x: Tensor) -> Tensor:
    assert isinstance(layer, nn.Embedding)
    rows = layer.weight[:, x]  # [m, b, s, dim]
    return stack.samples_first(rows)


STACKED: dict[type[nn.Module], Callable[[nn.Module, Stack, Tensor], Tensor]] = {
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    nn.GroupNorm: _group_norm,
    nn.LayerNorm: _layer_norm,
    nn.Embedding: _embedding,
}
"""How a layer runs with stacked parameters [m, ...], by its exact type."""


class StackedNetworks:
    """Networks of one structure.

    Args:
        module: The structure.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module, self.layout = module, Layout(module)

    def fits(self, objective: "Objective", omega: Tensor, x: Tensor, y: Tensor) -> bool:
        """Whether the module's layers are all of known kinds and used as their types say: tried on two networks.

        Args:
            objective: The loss, whose gradients are the truth.
            omega: Parameters [P] that are not zero.
            x: Some inputs, [b, ...].
            y: Their labels, [b].
        """
        omegas = torch.stack([omega, 1.25 * omega])
        weights = torch.rand(2, len(x), generator=torch.Generator().manual_seed(0)).to(omegas)
        decay = objective.weight_decay
        try:
            found = self.gradients(omegas, x, y, weights) + decay * omegas
        except (RuntimeError, TypeError, AssertionError):
            return False
        true = torch.stack([objective.eager_gradient(o, x, y, w) for o, w in zip(omegas, weights, strict=True)])
        return torch.allclose(found, true, rtol=0, atol=torch.finfo(true.dtype).eps ** 0.5 * float(true.abs().max()))

    def gradients(self, omegas: Tensor, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        """(1/b) Σ_i w_ji ∇ℓ_i(ω_j) of each network j, without the L2 term.

        Args:
            omegas: ω_j, [m, P].
            x: Inputs, [b, ...].
            y: Labels, [b].
            weights: w, [m, b].

        Returns:
            [m, P].
        """
        stack = Stack(len(omegas), len(x))
        leaves = [part.requires_grad_() for part in self.layout.views(omegas.detach())]
        bound = bind(self.module, iter(leaves), {})
        for layer in bound.modules():
            if (run := STACKED.get(type(layer))) is not None:
                layer.__dict__["forward"] = _stacked(run, layer, stack)
        with torch.enable_grad():
            logits = bound(x)
        by_logits = _residuals(logits.detach(), y.repeat_interleave(stack.m), weights.T.reshape(-1) / stack.b)
        gradients = torch.autograd.grad(logits, leaves, by_logits)
        return torch.cat([gradient.flatten(1) for gradient in gradients], dim=1)


def _residuals(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """w_i ∂ℓ_i/∂z_i, [N, c], class by class: torch's softmax over few classes does not vectorise."""
    z = logits.T.contiguous()
    z = z.sub_(z.amax(0)).exp_()
    z.mul_(weights / z.sum(0))
    z.scatter_add_(0, labels[None], -weights[None])
    return z.T.contiguous()


def _stacked(
    run: Callable[[nn.Module, Stack, Tensor], Tensor], layer: nn.Module, stack: Stack
) -> Callable[..., Tensor]:
    return lambda x: run(layer, stack, x)
