"""The training loss as a function of one flat parameter vector, and the derivatives that every method is made of.

    L(ω; w) = (1/|b|) Σ_i w_i ℓ_i(ω) + (λ/2) ‖ω‖²

with cross-entropy ℓ_i. The divisor stays |b| when points are removed (w_i = 0). The L2 term enters gradients as λω and
curvatures as λI, in closed form.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import grad, jvp, vjp, vmap

from samattr_ref.bound import bind
from samattr_ref.chain import Chain, ChainLinearised
from samattr_ref.chunking import chunk_bytes, chunk_length, in_chunks
from samattr_ref.errors import SamattrError
from samattr_ref.ghost import TRIED, GhostEngine, SampleGradients
from samattr_ref.layout import Layout
from samattr_ref.losses import cross_entropy, residuals
from samattr_ref.pooling import with_sliced_pooling

FORWARD_COLUMNS = 4
"""Up to this many directions, one forward-mode pass each beats making per-sample gradients."""

CURVATURE_COLUMNS = 16
"""Chunks of samples leave room for this many directions in a curvature product."""


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
        self._network = with_sliced_pooling(module)
        self._convolves = any(isinstance(layer, nn.Conv2d) for layer in module.modules())
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
        return bind(self._network, iter(self.layout.views(omega)), {})(x)

    def all_logits(self, omega: Tensor, x: Tensor) -> Tensor:
        """`logits` of any number of inputs, in chunks, without a graph."""

        def part(rows: slice) -> Tensor:
            with torch.no_grad():
                return self.logits(omega, x[rows])

        return torch.cat([found for _, found in in_chunks(part, len(x), chunk_length(2 * self.activation_bytes(x)))])

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
        return torch.add(self._eager_data_gradient(omega, x, y, weights), omega, alpha=self.weight_decay)

    def mean_gradient(self, omega: Tensor, x: Tensor, y: Tensor, points: Tensor | None = None) -> Tensor:
        """(1/b) Σ_i ∇ℓ_i(ω) [P] of any number of samples, without the L2 term; in chunks.

        Args:
            omega: ω, shape [P].
            x: Inputs.
            y: Labels.
            points: Which of them; None for all.
        """
        count = len(x) if points is None else len(points)

        def part(rows: slice) -> Tensor:
            xs, ys = _taken(x, y, rows, points)
            return self._eager_data_gradient(omega, xs, ys) * (len(xs) / count)

        return self._summed(part, torch.zeros_like(omega), x, count)

    @cached_property
    def _ghost(self) -> GhostEngine:
        return GhostEngine(self._network)

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
        width = len(directions) if isinstance(directions, SampleGradients) else directions.shape[1]
        values = omega.new_empty(len(x), width)
        for part, found in self.product_chunks(omega, x, y, directions):
            values[part] = found
        return values

    def product_chunks(
        self,
        omega: Tensor,
        x: Tensor,
        y: Tensor,
        directions: Tensor | SampleGradients,
        points: Tensor | None = None,
    ) -> Iterator[tuple[slice, Tensor]]:
        """The rows of `gradient_products` chunk by chunk, of the samples `points` [k] alone where they are given."""

        def products(rows: slice) -> Tensor:
            xs, ys = _taken(x, y, rows, points)
            if isinstance(directions, SampleGradients):
                return self.factored_gradients(omega, xs, ys).dot(directions)
            if directions.shape[1] > FORWARD_COLUMNS:
                return self.factored_gradients(omega, xs, ys).along(directions)

            if (chain := self.chain(omega, xs, ys)) is not None:
                return ChainLinearised(chain, 0.0, omega, xs, ys).sample_products(directions.T).T

            def losses(w: Tensor) -> Tensor:
                return self.sample_losses(w, xs, ys)

            return torch.stack([jvp(losses, (omega,), (v,))[1] for v in directions.T.contiguous()], dim=1)

        columns, found = (1, len(directions)) if isinstance(directions, SampleGradients) else (directions.shape[1], 0)
        each = self._ghost.bytes_a_sample(self.activation_bytes(x), columns, omega.element_size())
        size = chunk_length(each + 4 * found * omega.element_size())
        return in_chunks(products, len(x) if points is None else len(points), size)

    def weighted_gradients(
        self, omega: Tensor, x: Tensor, y: Tensor, weights: Tensor, points: Tensor | None = None
    ) -> Tensor:
        """Σ_i a_gi ∇ℓ_i(ω) for rows of weights a [m, b], of the samples `points` [b] where given: [m, P].

        Few rows take one backward pass each; many take per-sample gradients and a matrix product, in chunks.
        """
        count = len(x) if points is None else len(points)
        if len(weights) <= FORWARD_COLUMNS:

            def few(rows: slice) -> Tensor:
                xs, ys = _taken(x, y, rows, points)
                leaves = self._leaves(omega)
                logits, by_logits = self._residuals(leaves, xs, ys, None)
                found = omega.new_empty(len(weights), len(omega))
                for row, a in zip(found, weights[:, rows] * len(xs), strict=True):
                    data = torch.autograd.grad(logits, leaves, a[:, None] * by_logits, retain_graph=True)
                    torch.cat([part.reshape(-1) for part in data], out=row)
                return found

            return self._summed(few, omega.new_zeros(len(weights), len(omega)), x, count)

        def gradients(rows: slice) -> Tensor:
            return self.sample_gradients(omega, *_taken(x, y, rows, points))

        each = self._ghost.bytes_a_sample(self.activation_bytes(x), 1, omega.element_size())
        change = omega.new_zeros(len(weights), len(omega))
        size = chunk_length(each + 2 * self.n_parameters * omega.element_size())
        for part, found in in_chunks(gradients, count, size):
            change.addmm_(weights[:, part], found)
        return change

    def query_bytes(self, x: Tensor, y: Tensor) -> int:
        """What the factors of one sample take as a query, and what is kept of it for products with many others."""
        return self.factored_gradients(self.flatten(), x[:TRIED], y[:TRIED]).query_bytes()

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
        chain = self.chain(omega, x, y)

        def products(xs: Tensor, ys: Tensor, v: Tensor) -> Tensor:
            if chain is not None:
                return ChainLinearised(chain, 0.0, omega, xs, ys).along(v.T)[0].T * len(xs)

            def total(w: Tensor) -> Tensor:
                return self.sample_losses(w, xs, ys).sum()

            def product(column: Tensor) -> Tensor:
                return jvp(grad(total), (omega,), (column,))[1]

            return vmap(product, in_dims=1, out_dims=1)(v)

        return self._curvature_product(products, x, y, v)

    def gauss_newton_product(self, omega: Tensor, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """The generalised Gauss-Newton (1/n) Σ_i J_iᵀ (diag π_i − π_i π_iᵀ) J_i + λI times v [P, m].

        J_i are the logits' Jacobians, π_i the softmax probabilities (Schraudolph 2002): the Hessian without the
        network's own second derivative, so never indefinite.
        """
        chain = self.chain(omega, x, y)

        def products(xs: Tensor, ys: Tensor, v: Tensor) -> Tensor:
            if chain is not None:
                return ChainLinearised(chain, 0.0, omega, xs, ys).gauss_newton(v.T).T * len(xs)

            def logits(w: Tensor) -> Tensor:
                return self.logits(w, xs)

            def product(column: Tensor) -> Tensor:
                z, change = cast(tuple[Tensor, Tensor], jvp(logits, (omega,), (column,)))
                probability = z.softmax(-1)
                weighted = probability * change
                outer = weighted - probability * weighted.sum(-1, keepdim=True)
                (back,) = cast(Callable[[Tensor], tuple[Tensor]], vjp(logits, omega)[1])(outer)
                return back

            return vmap(product, in_dims=1, out_dims=1)(v)

        return self._curvature_product(products, x, y, v)

    def _leaves(self, omega: Tensor) -> list[Tensor]:
        """The parameters as tensors of their own that autograd can differentiate by; they share ω's memory."""
        return [part.requires_grad_() for part in self.layout.views(omega.detach())]

    def _residuals(self, leaves: list[Tensor], x: Tensor, y: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logits z [b, c] and the loss's gradient by them, w_i (π_i − onehot(y_i))/|b|: backward begins there."""
        if self._convolves and x.dim() == 4 and x.device.type == "cpu":  # in which it convolves without rearranging
            x = x.contiguous(memory_format=torch.channels_last)
        logits = bind(self._network, iter(leaves), {})(x)
        by_logits = residuals(logits, y) / len(x)
        return logits, by_logits if weights is None else by_logits * weights[:, None]

    def _eager_data_gradient(self, omega: Tensor, x: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
        """(1/b) Σ_i w_i ∇ℓ_i(ω), [P]."""
        leaves = self._leaves(omega)
        logits, residuals = self._residuals(leaves, x, y, weights)
        return _flat(torch.autograd.grad(logits, leaves, residuals))

    def _summed(self, part: Callable[[slice], Tensor], total: Tensor, x: Tensor, count: int) -> Tensor:
        """A total with what backward passes over chunks of samples give added to it."""
        for _, found in in_chunks(part, count, chunk_length(4 * self.activation_bytes(x))):
            total += found
        return total

    def _data_loss(self, omega: Tensor, x: Tensor, y: Tensor, weights: Tensor | None) -> Tensor:
        losses = self.sample_losses(omega, x, y)
        return (losses if weights is None else weights * losses).sum() / len(x)

    def _curvature_product(
        self, products: Callable[[Tensor, Tensor, Tensor], Tensor], x: Tensor, y: Tensor, v: Tensor
    ) -> Tensor:
        """The mean over samples of what `products` sums over some of them, for some columns, and λ v: [P, m]."""
        width = self.activation_bytes(x) * 4
        rows = min(len(x), chunk_length(width))
        rows = min(rows, max(1, chunk_bytes() // (width * min(v.shape[1], CURVATURE_COLUMNS))))
        together = min(chunk_length(width * rows), chunk_length(4 * v[:, :1].nbytes))

        def product(part: slice) -> Tensor:
            total = self.weight_decay * v[:, part]

            def some(samples: slice) -> Tensor:
                return products(x[samples], y[samples], v[:, part])

            for _, found in in_chunks(some, len(x), rows):
                total += found / len(x)
            return total

        whole = torch.empty_like(v)
        for part, found in in_chunks(product, v.shape[1], together):
            whole[:, part] = found
        return whole

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


def _taken(x: Tensor, y: Tensor, rows: slice, points: Tensor | None) -> tuple[Tensor, Tensor]:
    """Samples `rows` of all, or of the named ones: copied no more than a chunk at a time."""
    chosen = rows if points is None else points[rows]
    return x[chosen], y[chosen]
