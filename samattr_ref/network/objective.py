"""The training loss as a function of one flat parameter vector, and the derivatives that every method is made of.

    L(ω; w) = (1/|b|) Σ_i w_i ℓ_i(ω) + (λ/2) ‖ω‖²

with cross-entropy ℓ_i, or another loss of `samattr_ref.network.losses`. The divisor stays |b| when points are removed
(w_i = 0). The L2 term enters gradients as λω and curvatures as λI, in closed form.
"""

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.func import grad
from torch.utils._pytree import tree_leaves

from samattr_ref.network import curvature_products
from samattr_ref.network.functionals import LOSS, Functional
from samattr_ref.network.linear_chain import Chain, ChainLinearised
from samattr_ref.network.linearised import Linearised, flat, gradients
from samattr_ref.network.losses import CROSS_ENTROPY, Loss
from samattr_ref.network.network import Network
from samattr_ref.network.sample_gradients import SampleGradients
from samattr_ref.network.trial import Trial
from samattr_ref.network.tried import Tried
from samattr_ref.support.memory import chunk_bytes, chunk_length, in_chunks

FORWARD_COLUMNS = 4
"""Up to this many directions, one forward-mode pass each beats making per-sample gradients."""

CURVATURE_COLUMNS = 16
"""Chunks of samples leave room for this many directions in a curvature product."""


class Objective:
    """L(ω; w) of a module, on flat parameter vectors ω of shape [P].

    What is fast is used once it has been tried (`try_at`) and found right, until then what is plain.

    Args:
        module: Maps inputs [b, ...] to class logits [b, c], each sample by itself. Its trained parameters are ω.
        weight_decay: λ >= 0 of the L2 term.
        loss: ℓ of a sample; where it is another, logits are the outputs that it takes.
    """

    def __init__(self, module: nn.Module, weight_decay: float = 0.0, loss: Loss = CROSS_ENTROPY) -> None:
        self.module, self.sample_loss = module, loss
        self.network = Network(module, loss)
        self.weight_decay = weight_decay
        self.layout = self.network.layout
        self.n_parameters = self.layout.size
        self.tried = Tried(self, None)

    def try_at(self, trial: Trial) -> None:
        """Use whatever is found right at the points and parameters of a trial, each when it is first asked for."""
        self.tried = Tried(self.without_decay(), trial)

    def without_decay(self) -> "Objective":
        """The same network's loss without the L2 term, which hides in rounding what it is added to where λ is large."""
        bare = copy.copy(self)
        bare.weight_decay, bare.tried = 0.0, Tried(bare, None)
        return bare

    def flatten(self) -> Tensor:
        """The module's own trained parameters as one vector [P]."""
        return torch.cat([parameter.detach().reshape(-1) for parameter in self.network.trained])

    def unflatten(self, omega: Tensor) -> dict[str, Tensor]:
        """The vector ω [P] as named parameter tensors (views)."""
        return self.layout.named(omega)

    def logits(self, omega: Tensor, x: Tensor) -> Tensor:
        """Class logits [b, c] of inputs x [b, ...]."""
        return self.network(self.layout.views(omega), x)

    def all_logits(self, omega: Tensor, x: Tensor) -> Tensor:
        """`logits` of any number of inputs, in chunks, without a graph."""

        def part(rows: slice) -> Tensor:
            with torch.no_grad():
                return self.logits(omega, x[rows])

        return torch.cat([found for _, found in in_chunks(part, len(x), chunk_length(2 * self.activation_bytes(x)))])

    def sample_losses(self, omega: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """ℓ_i(ω) of each sample [b], in nats where it is a cross-entropy, without the L2 term."""
        return self.sample_loss.value(self.logits(omega, x), y)

    def loss(self, omega: Tensor, x: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
        """L(ω; w) on a batch, the L2 term included; scalar. `weights` [b] are 1 where it is None."""
        return self._data_loss(omega, x, y, weights) + 0.5 * self.weight_decay * omega.dot(omega)

    def gradient(self, omega: Tensor, x: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
        """∇L(ω; w) [P], by `torch.func`, so that it can be batched and differentiated further."""
        return torch.add(grad(self._data_loss)(omega, x, y, weights), omega, alpha=self.weight_decay)

    def eager_gradient(self, omega: Tensor, x: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
        """∇L(ω; w) [P] by plain autograd: the same numbers at a third of the overhead, outside of transforms only."""
        return torch.add(self._eager_data_gradient(omega, x, y, weights), omega, alpha=self.weight_decay)

    def mean_gradient(
        self,
        omega: Tensor,
        x: Tensor,
        y: Tensor,
        points: Tensor | None = None,
        functional: Functional = LOSS,
    ) -> Tensor:
        """(1/b) Σ_i ∇ℓ_i(ω) [P] of any number of samples, without the L2 term; in chunks.

        Args:
            omega: ω, shape [P].
            x: Inputs.
            y: Labels.
            points: Which of them; None for all.
            functional: What stands in the place of the loss.
        """
        count = len(x) if points is None else len(points)

        def part(rows: slice) -> Tensor:
            xs, ys = _taken(x, y, rows, points)
            return self._eager_data_gradient(omega, xs, ys, None, functional) * (len(xs) / count)

        return self._summed(part, torch.zeros_like(omega), x, count)

    def factored_gradients(self, omega: Tensor, x: Tensor, y: Tensor, functional: Functional = LOSS) -> SampleGradients:
        """∇ℓ_i(ω) of each sample, without the L2 term, in factors that products are taken from, never formed.

        Another functional may stand in the place of the loss.
        """
        return self.tried.engine.gradients(omega, x, y, functional)

    def sample_gradients(self, omega: Tensor, x: Tensor, y: Tensor, functional: Functional = LOSS) -> Tensor:
        """∇ℓ_i(ω) of each sample [b, P], without the L2 term; or that of another functional."""
        return self.factored_gradients(omega, x, y, functional).dense()

    def gradient_norms(self, omega: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """‖∇ℓ_i(ω)‖ of each sample, without the L2 term: [b]; in chunks of samples."""

        def norms(rows: slice) -> Tensor:
            return self.factored_gradients(omega, x[rows], y[rows]).norms()

        size = chunk_length(self.tried.engine.bytes_a_sample(self.activation_bytes(x), 1, omega.element_size()))
        return torch.cat([found for _, found in in_chunks(norms, len(x), size)])

    def gradient_products(self, omega: Tensor, x: Tensor, y: Tensor, directions: Tensor | SampleGradients) -> Tensor:
        """⟨∇ℓ_i(ω), v_j⟩ for samples i and directions v_j [P, m], or gradients of other samples in factors: [b, m].

        One or few directions take one forward-mode pass each, all others the samples' factors, see
        `samattr_ref.network.sample_gradients`; in chunks of samples.
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
            chain = self.chain
            if directions.shape[1] > FORWARD_COLUMNS or (chain is None and not self.tried.forward):
                return self.factored_gradients(omega, xs, ys).along(directions)
            if chain is not None:
                return ChainLinearised(chain, 0.0, omega, xs, ys).sample_products(directions.T).T

            return curvature_products.forward_products(self, omega, xs, ys, directions)

        columns, found = (1, len(directions)) if isinstance(directions, SampleGradients) else (directions.shape[1], 0)
        each = self.tried.engine.bytes_a_sample(self.activation_bytes(x), columns, omega.element_size())
        size = chunk_length(each + 4 * found * omega.element_size())
        return in_chunks(products, len(x) if points is None else len(points), size)

    def weighted_gradients(
        self, omega: Tensor, x: Tensor, y: Tensor, weights: Tensor, points: Tensor | None = None
    ) -> Tensor:
        """Σ_i a_gi ∇ℓ_i(ω) for rows of weights a [m, b], of the samples `points` [b] where given: [m, P].

        Samples that no row gives a weight are left out. Few rows take one backward pass each; many take per-sample
        gradients in factors, in chunks.
        """
        present = weights.any(0).nonzero()[:, 0]
        points = present if points is None else points[present]
        weights, count = weights[:, present], len(present)
        if len(weights) <= FORWARD_COLUMNS:

            def few(rows: slice) -> Tensor:
                xs, ys = _taken(x, y, rows, points)
                leaves = self.leaves(omega)
                logits, by_logits = self.residuals(leaves, xs, ys, None)
                found = omega.new_empty(len(weights), len(omega))
                for row, a in zip(found, weights[:, rows] * len(xs), strict=True):
                    data = gradients(logits, leaves, times_each(a, by_logits), retain_graph=True)
                    torch.cat([part.reshape(-1) for part in data], out=row)
                return found

            return self._summed(few, omega.new_zeros(len(weights), len(omega)), x, count)

        def many(rows: slice) -> Tensor:
            return self.factored_gradients(omega, *_taken(x, y, rows, points)).weighted(weights[:, rows])

        each = self.tried.engine.bytes_a_sample(self.activation_bytes(x), 1, omega.element_size())
        change = omega.new_zeros(len(weights), len(omega))
        size = chunk_length(each + 2 * self.n_parameters * omega.element_size())
        for _, found in in_chunks(many, count, size):
            change += found
        return change

    def query_bytes(self, x: Tensor, y: Tensor) -> int:
        """What the factors of one sample take as a query, and what is kept of it for products with many others."""
        return self.factored_gradients(self.flatten(), x[:2], y[:2]).query_bytes()

    @property
    def chain(self) -> Chain | None:
        """The network as a chain of linear layers, whose derivatives are written out; None where it is none."""
        return self.tried.chain

    def linearise(
        self, omega: Tensor, x: Tensor, y: Tensor, weights: Tensor | None = None
    ) -> Linearised | ChainLinearised:
        """∇L(ω; w) of a batch, ready to be differentiated: written out for a chain, else with the graph it took."""
        if (chain := self.chain) is not None:
            return ChainLinearised(chain, self.weight_decay, omega, x, y, weights)
        return Linearised(self, omega, x, y, weights)

    def hvp(self, omega: Tensor, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """∇²L(ω) v for directions v [P, m], the λI included."""
        return self._curvature_product(curvature_products.hessian(self, omega), x, y, v)

    def ggnvp(self, omega: Tensor, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """The generalised Gauss-Newton (1/n) Σ_i J_iᵀ (∂²ℓ_i/∂z_i²) J_i + λI times v [P, m].

        J_i are the logits' Jacobians, and ∂²ℓ/∂z² of cross-entropy is diag π − π πᵀ with the softmax probabilities π
        (Schraudolph 2002): the Hessian without the network's own second derivative, never indefinite for a convex ℓ.
        """
        return self._curvature_product(curvature_products.gauss_newton(self, omega), x, y, v)

    def leaves(self, omega: Tensor) -> list[Tensor]:
        """The parameters as tensors of their own that autograd can differentiate by; they share ω's memory."""
        return [part.requires_grad_() for part in self.layout.views(omega.detach())]

    def residuals(
        self, leaves: list[Tensor], x: Tensor, y: Tensor, weights: Tensor | None, functional: Functional = LOSS
    ) -> tuple[Tensor, Tensor]:
        """Logits z and the loss's gradient by them, w_i ∂ℓ_i/∂z_i / |b|, [b, c]: backward begins there."""
        logits = self.network(leaves, self.network.images(x))
        by_logits = functional.of(self.sample_loss).by_logits(logits, y) / len(x)
        return logits, by_logits if weights is None else times_each(weights, by_logits)

    def _eager_data_gradient(
        self, omega: Tensor, x: Tensor, y: Tensor, weights: Tensor | None = None, functional: Functional = LOSS
    ) -> Tensor:
        """(1/b) Σ_i w_i ∇ℓ_i(ω), [P]."""
        leaves = self.leaves(omega)
        logits, residuals = self.residuals(leaves, x, y, weights, functional)
        return flat(gradients(logits, leaves, residuals))

    def _summed(self, part: Callable[[slice], Tensor], total: Tensor, x: Tensor, count: int) -> Tensor:
        """A total with what backward passes over chunks of samples give added to it."""
        for _, found in in_chunks(part, count, chunk_length(4 * self.activation_bytes(x))):
            total += found
        return total

    def _data_loss(self, omega: Tensor, x: Tensor, y: Tensor, weights: Tensor | None) -> Tensor:
        losses = self.sample_losses(omega, x, y)
        return (losses if weights is None else weights * losses).sum() / len(x)

    def _curvature_product(self, products: curvature_products.Products, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
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

            def count(_layer: nn.Module, _inputs: object, output: object) -> None:
                counted.extend(part.numel() for part in tree_leaves(output) if isinstance(part, Tensor))

            hooks = [layer.register_forward_hook(count) for layer in self.module.modules()]
            with torch.no_grad(), self.network.kernels():
                self.module(x[:1].to(self.network.trained[0].dtype) if x.is_floating_point() else x[:1])
            for hook in hooks:
                hook.remove()
            self._activations = sum(counted)
        return (self._activations + x[0].numel()) * x.element_size()


def times_each(a: Tensor, values: Tensor) -> Tensor:
    """Each sample's values [b, ...] times its own number a [b]."""
    return a.view(-1, *[1] * (values.ndim - 1)) * values


def _taken(x: Tensor, y: Tensor, rows: slice, points: Tensor | None) -> tuple[Tensor, Tensor]:
    """Samples `rows` of all, or of the named ones: copied no more than a chunk at a time."""
    chosen = rows if points is None else points[rows]
    return x[chosen], y[chosen]
