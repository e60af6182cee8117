"""The gradient of a batch with the graph that it took, by plain autograd."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from samattr_ref.network.objective import Objective


class Linearised:
    """∇L(ω; w) of a batch, and its derivatives along many directions from the one graph that it took.

    Args:
        objective: The training loss.
        omega: ω, shape [P].
        x: Inputs of the batch, [b, ...].
        y: Their labels, [b].
        weights: w, shape [b]; 1 where it is None.
    """

    def __init__(self, objective: "Objective", omega: Tensor, x: Tensor, y: Tensor, weights: Tensor | None) -> None:
        self.objective, self.omega = objective, omega
        leaves = objective.leaves(omega)
        logits, residuals = objective.residuals(leaves, x, y, weights)
        self._data = gradients(logits, leaves, residuals, create_graph=True)
        self._inputs, self._samples = (*leaves, residuals), len(x) * residuals.detach()

    @property
    def gradient(self) -> Tensor:
        """∇L(ω; w), shape [P]."""
        return torch.add(flat(self._data).detach(), self.omega, alpha=self.objective.weight_decay)

    def along(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """∇²L(ω; w) u [m, P], the λI included, and w_i ⟨∇ℓ_i(ω), u⟩ [m, b] for directions u [m, P].

        They are the derivatives of ⟨∇L, u⟩ by ω and by the residuals, which ⟨∇L, u⟩ is linear in, by plain autograd
        through the gradient's own graph, once for each direction or for all of them together.
        """
        if len(u) > 1 and self.objective.tried.together:
            return self.together(u)
        pairs = [self._single(row) for row in u]
        if len(pairs) == 1:
            return pairs[0][0][None], pairs[0][1][None]
        return torch.stack([h for h, _ in pairs]), torch.stack([products for _, products in pairs])

    def together(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """The same for all directions in one pass."""
        along = self.objective.layout.views(u)
        *h, by_residuals = gradients(self._data, self._inputs, along, batched=True, retain_graph=True)
        found = torch.cat([part.reshape(len(u), -1) for part in h], dim=1)
        return torch.add(found, u, alpha=self.objective.weight_decay), self._products(by_residuals, 1)

    def _single(self, u: Tensor) -> tuple[Tensor, Tensor]:
        *h, by_residuals = gradients(self._data, self._inputs, self.objective.layout.views(u), retain_graph=True)
        return torch.add(flat(h), u, alpha=self.objective.weight_decay), self._products(by_residuals, 0)

    def _products(self, by_residuals: Tensor, lead: int) -> Tensor:
        return (by_residuals * self._samples).flatten(lead + 1).sum(-1)


def gradients(
    outputs: Tensor | Sequence[Tensor],
    inputs: Sequence[Tensor],
    along: Tensor | Sequence[Tensor],
    batched: bool = False,
    **how: bool,
) -> tuple[Tensor, ...]:
    """`torch.autograd.grad`, with zeros for what an output does not depend on.

    Args:
        outputs: What is differentiated.
        inputs: By what.
        along: What backward begins with; several with m in front where `batched`.
        batched: Whether there are several.
        **how: Whether to keep or create a graph.
    """
    found = torch.autograd.grad(outputs, inputs, along, allow_unused=True, is_grads_batched=batched, **how)
    if all(part is not None for part in found):
        return found
    lead = (along if isinstance(along, Tensor) else along[0]).shape[:1] if batched else torch.Size()
    create = how.get("create_graph", False)
    return tuple(
        tensor.new_zeros(lead + tensor.shape, requires_grad=create) if part is None else part
        for part, tensor in zip(found, inputs, strict=True)
    )


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors as one vector."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
