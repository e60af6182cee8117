r"""Gradients of many networks of one structure on the same batch, in one pass: retrainings step together.

For networks j = 1..m that are a chain of linear layers and activations, on b points, with activations [m, width, b]:

- the first layer's input is the batch itself, the same for all: W_1 … W_m stand below one another and one large product
  serves them all, forward and for their gradients; behind it, linear layers are batched products;
- the samples stand last, so that every pass over activations, the softmax over few classes above all, runs along them
  and vectorises;
- the backward pass is written out, so that nothing is recorded and `torch.compile` can fuse what is not a product.

That is two to three times faster than `torch.func.vmap` over one network. A module that is something else than its
layers' types say is tried and refused: `vmap` takes it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from samattr_ref.layout import Layout
from samattr_ref.matmul import matmul_t
from samattr_ref.objective import Objective
from samattr_ref.step import Batch

Activation = Callable[[Tensor], tuple[Tensor, Tensor]]
"""φ(z) and its slope φ'(z)."""


def _tanh(z: Tensor) -> tuple[Tensor, Tensor]:
    a = 2 * torch.sigmoid(2 * z) - 1  # torch's tanh takes ten times as long
    return a, 1 - a * a


def _gelu(z: Tensor) -> tuple[Tensor, Tensor]:
    below = 0.5 * (1 + torch.erf(z * math.sqrt(0.5)))
    return z * below, below + z * torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _silu(z: Tensor) -> tuple[Tensor, Tensor]:
    gate = torch.sigmoid(z)
    return z * gate, gate * (1 + z * (1 - gate))


def _softplus(z: Tensor) -> tuple[Tensor, Tensor]:
    return functional.softplus(z), torch.sigmoid(z)


def _relu(z: Tensor) -> tuple[Tensor, Tensor]:
    return z.clamp(min=0), (z > 0).to(z)


ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.Tanh: _tanh,
    nn.GELU: _gelu,
    nn.SiLU: _silu,
    nn.Softplus: _softplus,
    nn.ReLU: _relu,
}
"""Activations by their exact type, with the settings that they have by default."""


class StackedNetworks:
    """Networks of one structure, a chain of linear layers and activations.

    Args:
        module: The structure.

    Raises:
        TypeError: if it is something else by its layers' types.
    """

    def __init__(self, module: nn.Module) -> None:
        self.layout = Layout(module)
        self.layers = [layer for layer in module.modules() if type(layer) not in (nn.Sequential, nn.Flatten)]
        if not (type(module) is nn.Sequential and self.layers and type(self.layers[0]) is nn.Linear):
            raise TypeError("not a chain that begins with a linear layer")
        if not all(type(layer) is nn.Linear or _known(layer) for layer in self.layers):
            raise TypeError("not a chain of linear layers and activations as they are by default")

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
        m, x = len(omegas), x.flatten(1)
        parameters = iter(self.layout.views(omegas))
        passed: list[tuple[Tensor, Tensor | None] | Tensor] = []  # (W, its input) of a linear layer, φ' of others
        a: Tensor | None = None
        for layer in self.layers:
            if not isinstance(layer, nn.Linear):
                assert a is not None
                a, slope = ACTIVATIONS[type(layer)](a)
                passed.append(slope)
                continue
            W = next(parameters)
            passed.append((W, a))
            a = matmul_t(W.reshape(-1, W.shape[2]), x).view(m, -1, len(x)) if a is None else torch.bmm(W, a)
            if layer.bias is not None:
                a = a + next(parameters)[..., None]
        assert a is not None
        target = torch.arange(a.shape[1], device=y.device)[:, None] == y
        delta = (torch.softmax(a, 1) - target.to(a)) * (weights / len(x))[:, None]
        found: list[Tensor] = []
        for layer, kept in zip(reversed(self.layers), reversed(passed), strict=True):
            if isinstance(kept, Tensor):
                delta = delta * kept
                continue
            W, before = kept
            if layer.bias is not None:
                found.append(delta.sum(2))
            if before is None:
                found.append(matmul_t(delta.reshape(-1, len(x)), x.T).view(m, -1))
            else:
                found.append(torch.bmm(delta, before.transpose(1, 2)).flatten(1))
                delta = torch.bmm(W.transpose(1, 2), delta)
        return torch.cat(found[::-1], dim=1)

    def fits(self, objective: Objective, omega: Tensor, x: Tensor, y: Tensor) -> bool:
        """Whether the gradients are those of the module: tried on two networks, not believed.

        Args:
            objective: The loss, whose gradients are the truth.
            omega: Parameters [P].
            x: Some inputs, [b, ...].
            y: Their labels, [b].
        """
        omegas = torch.stack([omega, 1.25 * omega + 0.01])
        weights = torch.linspace(0.5, 1.5, 2 * len(x)).view(2, -1).to(omegas)
        found = self.gradients(omegas, x, y, weights) + objective.weight_decay * omegas
        true = torch.stack([objective.eager_gradient(o, x, y, w) for o, w in zip(omegas, weights, strict=True)])
        return torch.allclose(found, true, rtol=0, atol=torch.finfo(true.dtype).eps ** 0.5 * float(true.abs().max()))


def _known(layer: nn.Module) -> bool:
    return type(layer) in ACTIVATIONS and layer.extra_repr() == type(layer)().extra_repr()


def stack(objective: Objective, omega: Tensor, x: Tensor, y: Tensor) -> StackedNetworks | None:
    """The stacked form of an objective's module, or None where it has none; see `StackedNetworks.fits`."""
    try:
        networks = StackedNetworks(objective.module)
        return networks if networks.fits(objective, omega, x, y) else None
    except (TypeError, RuntimeError, StopIteration):  # other layers, other shapes than these give, a tied weight
        return None


@dataclass(frozen=True, eq=False, kw_only=True)
class StackedBatch(Batch):
    """The same points for many networks at once: weights [m, b], vectors [m, P].

    Attributes:
        networks: What evaluates them together.
    """

    networks: StackedNetworks

    def gradient(self, omega: Tensor, keep: Tensor | None = None) -> Tensor:
        """∇L_b(ω_j; w_j) of each network, [m, P]."""
        assert self.weights is not None and keep is None
        return self.networks.gradients(omega, self.x, self.y, self.weights) + self.objective.weight_decay * omega
