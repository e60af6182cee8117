"""The training loss as a function of one flat parameter vector, and the derivatives that every method is made of.

    L(ω; w) = (1/|b|) Σ_i w_i ℓ_i(ω) + (λ/2) ‖ω‖²

with cross-entropy ℓ_i. The divisor stays |b| when points are removed (w_i = 0). The L2 term enters gradients as λω and
curvatures as λI, in closed form.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vjp, vmap

from samattr_ref.bound import bind
from samattr_ref.chain import Chain, ChainLinearised
from samattr_ref.chunking import chunk_length, chunks
from samattr_ref.errors import SamattrError
from samattr_ref.ghost import GhostEngine, SampleGradients
from samattr_ref.layout import Layout
from samattr_ref.losses import cross_entropy, residuals

FORWARD_COLUMNS = 4
"""Up to this many directions, one forward-mode pass each beats making per-sample gradients."""


class Objective:
    """L(ω; w) of a module, on flat parameter vectors ω of shape [P].

    Args:
        module: Maps inputs [b, ...] to class logits [b, c], each sample by itself. Only its structure is used.
        weight_decay: λ >= 0 of the L2 term.

    Raises:
        SamattrError: if a layer is random or mixes samples (dropout, train-mode batch norm): removing a point would
            then change more than the point, and no same-run ground truth exists. `train` also tries what a network
            does, whatever its layers are called. Also for an embedding whose derivatives torch's two modes disagree on.
    """

    def __init__(self, module: nn.Module, weight_decay: float = 0.0) -> None:
        for name, layer in module.named_modules():
            if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0:
                raise SamattrError(f"layer '{name}' is dropout: a random layer has no same-run ground truth; remove it")
            if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.training:
                raise SamattrError(
                    f"layer '{name}' is train-mode batch norm, which mixes samples; samattr_ref.group_norm converts it"
                )
            if isinstance(layer, nn.Embedding) and layer.padding_idx is not None:
                raise SamattrError(
                    f"layer '{name}' has a padding_idx, whose row backward mode holds still and forward mode moves; "
                    "leave it out and mask the padding in the network"
                )
        self.module = module
        self.weight_decay = weight_decay
        self.layout = Layout(module)
        self.n_parameters = self.layout.size

    def flatten(self) -> Tensor:
        """The module's own parameters as one vector [P]."""
        return torch.cat([parameter.detach().reshape(-1) for parameter in self.module.parameters()])

    def unflatten(self, omega: Tensor) -> dict[str, Tensor]:
        """The vector ω [P] as named parameter tensors (views)."""
        return self.layout.named(omega)

    def logits(self, omega: Tensor, x: Tensor) -> Tensor:
        """Class logits [b, c] of inputs x [b, ...]."""
        return functional_call(self.module, self.unflatten(omega), (x,))

    def sample_losses(self, omega: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy ℓ_i(ω) of each sample [b], in nats, without the L2 term."""
        return cross_entropy(self.logits(omega, x), y)

    def loss(self, omega: Tensor, x: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
        """L(ω; w) on a batch, the L2 term included; scalar. `weights` [b] are 1 where it is None."""
        return self._data_loss(omega, x, y, weights) + 0.5 * self.weight_decay * omega.dot(omega)

    def gradient(self, omega: Tensor, x: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
        """∇L(ω; w) [P], by `torch.func`, so that it can be batched and differentiated further."""
        return torch.add(grad(self._data_loss)(omega, x, y, weights), omega, alpha=self.weight_decay)

    def eager_gradient(self, omega: Tensor, x: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
        """∇L(ω; w) [P] by plain autograd: the same numbers at a third of the overhead, outside of transforms only."""
        leaves = self._leaves(omega)
        logits, residuals = self._residuals(leaves, x, y, weights)
        data = torch.autograd.grad(logits, leaves, residuals)
        return torch.add(_flat(data), omega, alpha=self.weight_decay)

    @cached_property
    def _ghost(self) -> GhostEngine:
        return GhostEngine(self.module)

    def factored_gradients(self, omega: Tensor, x: Tensor, y: Tensor) -> SampleGradients:
        """∇ℓ_i(ω) of each sample, without the L2 term, in factors that products are taken from, never formed."""
        return self._ghost.gradients(omega, x, y)

    def sample_gradients(self, omega: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """∇ℓ_i(ω) of each sample [b, P], without the L2 term."""
        return self.factored_gradients(omega, x, y).dense()

    def gradient_products(self, omega: Tensor, x: Tensor, y: Tensor, directions: Tensor | SampleGradients) -> Tensor:
        """⟨∇ℓ_i(ω), v_j⟩ for samples i and directions v_j [P, m], or gradients of other samples in factors: [b, m].

        One or few directions take one forward-mode pass each, all others the samples' factors, see
        `samattr_ref.ghost`; in chunks of samples.
        """

        def products(x: Tensor, y: Tensor) -> Tensor:
            if isinstance(directions, SampleGradients):
                return self.factored_gradients(omega, x, y).dot(directions)
            if directions.shape[1] > FORWARD_COLUMNS:
                return self.factored_gradients(omega, x, y).along(directions)

            if (chain := self.chain(omega, x, y)) is not None:
                return ChainLinearised(chain, 0.0, omega, x, y).sample_products(directions.T).T

            def losses(w: Tensor) -> Tensor:
                return self.sample_losses(w, x, y)

            return torch.stack([jvp(losses, (omega,), (v,))[1] for v in directions.T.contiguous()], dim=1)

        columns = 1 if isinstance(directions, SampleGradients) else directions.shape[1]
        size = chunk_length(self._ghost.bytes_a_sample(self.activation_bytes(x), columns, omega.element_size()))
        return torch.cat([products(xs, ys) for xs, ys in zip(x.split(size), y.split(size), strict=True)])

    def weighted_gradients(self, omega: Tensor, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        """Σ_i a_gi ∇ℓ_i(ω) for rows of weights a [m, b]: [m, P].

        Few rows take one backward pass each; many take per-sample gradients and a matrix product, in chunks.
        """
        if len(weights) <= FORWARD_COLUMNS:
            leaf = omega.detach().requires_grad_()
            totals = weights @ self.sample_losses(leaf, x, y)
            rows = [torch.autograd.grad(total, leaf, retain_graph=True)[0] for total in totals]
            return torch.stack(rows) if rows else omega.new_zeros(0, len(omega))
        change = omega.new_zeros(len(weights), len(omega))
        for part in chunks(len(x), chunk_length(self.n_parameters * omega.element_size())):
            change += weights[:, part] @ self.sample_gradients(omega, x[part], y[part])
        return change

    def chain(self, omega: Tensor, x: Tensor, y: Tensor) -> Chain | None:
        """The network as a chain of linear layers, whose derivatives are written out; None where it is none.

        What its layers' types say is tried once, at ω [P] on two of the samples, and not believed.
        """
        if not hasattr(self, "_chain"):
            self._chain = self._tried_chain(omega.detach(), x[:2], y[:2])
        return self._chain

    def linearise(
        self, omega: Tensor, x: Tensor, y: Tensor, weights: Tensor | None = None
    ) -> "Linearised | ChainLinearised":
        """∇L(ω; w) of a batch, ready to be differentiated: written out for a chain, else with the graph it took."""
        if (chain := self.chain(omega, x, y)) is not None:
            return ChainLinearised(chain, self.weight_decay, omega, x, y, weights)
        return Linearised(self, omega, x, y, weights)

    def _tried_chain(self, omega: Tensor, x: Tensor, y: Tensor) -> Chain | None:
        omega = omega + 0.01  # away from zero, where wrong derivatives could look right
        try:
            chain = Chain(self.module)
            found = ChainLinearised(chain, self.weight_decay, omega, x, y)
            (product, products), gradient = found.along(omega[None]), found.gradient
        except (TypeError, RuntimeError):  # other layers, or other shapes than these give
            return None
        true = Linearised(self, omega, x, y, None)
        pairs = zip((gradient, product, products), (true.gradient, *true.along(omega[None])), strict=True)
        tolerance = torch.finfo(omega.dtype).eps ** 0.5
        right = all(torch.allclose(a, b, rtol=0, atol=tolerance * float(b.abs().max())) for a, b in pairs)
        return chain if right else None

    def hessian_product(self, omega: Tensor, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """∇²L(ω) v for directions v [P, m], the λI included; forward over reverse (Pearlmutter 1994)."""
        if (chain := self.chain(omega, x, y)) is not None:
            return self._chain_product(chain, lambda at, u: at.along(u)[0], omega, x, y, v)

        def columns(xs: Tensor, ys: Tensor) -> Callable[[Tensor], Tensor]:
            def total(w: Tensor) -> Tensor:
                return self.sample_losses(w, xs, ys).sum()

            def product(column: Tensor) -> Tensor:
                return jvp(grad(total), (omega,), (column,))[1]

            return product

        return self._curvature_product(columns, x, y, v)

    def gauss_newton_product(self, omega: Tensor, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """The generalised Gauss-Newton (1/n) Σ_i J_iᵀ (diag π_i − π_i π_iᵀ) J_i + λI times v [P, m].

        J_i are the logits' Jacobians, π_i the softmax probabilities (Schraudolph 2002): the Hessian without the
        network's own second derivative, so never indefinite.
        """
        if (chain := self.chain(omega, x, y)) is not None:
            return self._chain_product(chain, ChainLinearised.gauss_newton, omega, x, y, v)

        def columns(xs: Tensor, ys: Tensor) -> Callable[[Tensor], Tensor]:
            def logits(w: Tensor) -> Tensor:
                return self.logits(w, xs)

            def product(column: Tensor) -> Tensor:
                z, change = cast(tuple[Tensor, Tensor], jvp(logits, (omega,), (column,)))
                probability = z.softmax(-1)
                weighted = probability * change
                outer = weighted - probability * weighted.sum(-1, keepdim=True)
                (back,) = cast(Callable[[Tensor], tuple[Tensor]], vjp(logits, omega)[1])(outer)
                return back

            return product

        return self._curvature_product(columns, x, y, v)

    def _leaves(self, omega: Tensor) -> list[Tensor]:
        """The parameters as tensors of their own that autograd can differentiate by; they share ω's memory."""
        return [part.requires_grad_() for part in self.layout.views(omega.detach())]

    def _residuals(self, leaves: list[Tensor], x: Tensor, y: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logits z [b, c] and the loss's gradient by them, w_i (π_i − onehot(y_i))/|b|: backward begins there."""
        logits = bind(self.module, iter(leaves), {})(x)
        by_logits = residuals(logits, y) / len(x)
        return logits, by_logits if weights is None else by_logits * weights[:, None]

    def _data_loss(self, omega: Tensor, x: Tensor, y: Tensor, weights: Tensor | None) -> Tensor:
        losses = self.sample_losses(omega, x, y)
        return (losses if weights is None else weights * losses).sum() / len(x)

    def _curvature_product(
        self, columns: Callable[[Tensor, Tensor], Callable[[Tensor], Tensor]], x: Tensor, y: Tensor, v: Tensor
    ) -> Tensor:
        total = self.weight_decay * v
        width = self.activation_bytes(x) * 4
        rows = chunk_length(width * min(v.shape[1], 16))
        for xs, ys in zip(x.split(rows), y.split(rows), strict=True):
            product = vmap(columns(xs, ys), in_dims=1, out_dims=1, chunk_size=chunk_length(width * len(xs)))
            total = total + product(v) / len(x)
        return total

    def _chain_product(
        self,
        chain: Chain,
        product: Callable[[ChainLinearised, Tensor], Tensor],
        omega: Tensor,
        x: Tensor,
        y: Tensor,
        v: Tensor,
    ) -> Tensor:
        """A curvature's products with v [P, m] by a chain's own derivatives, in chunks of rows and of columns."""
        total = self.weight_decay * v
        width = self.activation_bytes(x) * 4
        rows = chunk_length(width * min(v.shape[1], 16))
        for xs, ys in zip(x.split(rows), y.split(rows), strict=True):
            at = ChainLinearised(chain, 0.0, omega, xs, ys)
            for part in chunks(v.shape[1], chunk_length(width * len(xs))):
                total[:, part] += product(at, v[:, part].T).T * (len(xs) / len(x))
        return total

    def activation_bytes(self, x: Tensor) -> int:
        """Bytes of one sample's activations, at least those of its input."""
        if not hasattr(self, "_activations"):
            counted: list[int] = []
            hooks = [
                layer.register_forward_hook(lambda _layer, _inputs, output: counted.append(output[0].numel()))
                for layer in self.module.modules()
            ]
            with torch.no_grad():
                self.module(x[:1].to(next(self.module.parameters()).dtype) if x.is_floating_point() else x[:1])
            for hook in hooks:
                hook.remove()
            self._activations = sum(counted)
        return (self._activations + x[0].numel()) * x.element_size()


class Linearised:
    """∇L(ω; w) of a batch, and its derivatives along many directions from the one graph that it took.

    Args:
        objective: The training loss.
        omega: ω, shape [P].
        x: Inputs of the batch, [b, ...].
        y: Their labels, [b].
        weights: w, shape [b]; 1 where it is None.
    """

    def __init__(self, objective: Objective, omega: Tensor, x: Tensor, y: Tensor, weights: Tensor | None) -> None:
        self.objective, self.omega = objective, omega
        leaves = objective._leaves(omega)
        logits, residuals = objective._residuals(leaves, x, y, weights)
        self._data = torch.autograd.grad(logits, leaves, residuals, create_graph=True)
        self._inputs, self._samples = (*leaves, residuals), len(x) * residuals.detach()

    @property
    def gradient(self) -> Tensor:
        """∇L(ω; w), shape [P]."""
        return torch.add(_flat(self._data).detach(), self.omega, alpha=self.objective.weight_decay)

    def along(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """∇²L(ω; w) u [m, P], the λI included, and w_i ⟨∇ℓ_i(ω), u⟩ [m, b] for directions u [m, P].

        They are the derivatives of ⟨∇L, u⟩ by ω and by the residuals, which ⟨∇L, u⟩ is linear in, by plain autograd
        through the gradient's own graph, once for each direction or for all of them together.
        """
        single = len(u) == 1
        along = self.objective.layout.views(u[0] if single else u)
        *h, d_logits = torch.autograd.grad(
            self._data, self._inputs, along, retain_graph=True, is_grads_batched=not single
        )
        flat = _flat(h) if single else torch.cat([part.flatten(1) for part in h], dim=1)
        products = (d_logits * self._samples).sum(-1)
        return torch.add(flat, u, alpha=self.objective.weight_decay), products[None] if single else products


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
