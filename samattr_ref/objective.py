"""The training loss as a function of one flat parameter vector, and the derivatives that every method is made of.

    L(ω; w) = (1/|b|) Σ_i w_i ℓ_i(ω) + (λ/2) ‖ω‖²

with cross-entropy ℓ_i. The divisor stays |b| when points are removed (w_i = 0). The L2 term enters gradients as λω and
curvatures as λI, in closed form.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vjp, vmap

from samattr_ref.errors import SamattrError

CHUNK_BYTES = 64 * 2**20
"""How large the largest intermediate of a chunked computation may become."""

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
            does, whatever its layers are called.
    """

    def __init__(self, module: nn.Module, weight_decay: float = 0.0) -> None:
        for name, layer in module.named_modules():
            if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0:
                raise SamattrError(f"layer '{name}' is dropout: a random layer has no same-run ground truth; remove it")
            if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.training:
                raise SamattrError(
                    f"layer '{name}' is train-mode batch norm, which mixes samples; samattr_ref.group_norm converts it"
                )
        self.module = module
        self.weight_decay = weight_decay
        named = dict(module.named_parameters())
        self.names = list(named)
        self.shapes = [parameter.shape for parameter in named.values()]
        self.sizes = [parameter.numel() for parameter in named.values()]
        self.n_parameters = sum(self.sizes)

    def flatten(self) -> Tensor:
        """The module's own parameters as one vector [P]."""
        return torch.cat([parameter.detach().reshape(-1) for parameter in self.module.parameters()])

    def unflatten(self, omega: Tensor) -> dict[str, Tensor]:
        """The vector ω [P] as named parameter tensors (views)."""
        parts = omega.split(self.sizes)
        return {name: part.view(shape) for name, part, shape in zip(self.names, parts, self.shapes, strict=True)}

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

    def sample_gradients(self, omega: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """∇ℓ_i(ω) of each sample [b, P], without the L2 term."""

        def one(omega: Tensor, x: Tensor, y: Tensor) -> Tensor:
            return self.sample_losses(omega, x[None], y[None])[0]

        return vmap(grad(one), in_dims=(None, 0, 0))(omega, x, y)

    def gradient_products(self, omega: Tensor, x: Tensor, y: Tensor, directions: Tensor) -> Tensor:
        """⟨∇ℓ_i(ω), v_j⟩ for samples i and directions v_j: [b, m] from directions [P, m].

        Few directions take one forward-mode pass each and form no per-sample gradient; many take per-sample gradients
        and a matrix product, in chunks of samples.
        """
        if directions.shape[1] <= FORWARD_COLUMNS:

            def losses(w: Tensor) -> Tensor:
                return self.sample_losses(w, x, y)

            return torch.stack([jvp(losses, (omega,), (v,))[1] for v in directions.T.contiguous()], dim=1)
        size = chunk_length(self.n_parameters * omega.element_size())
        parts = [
            self.sample_gradients(omega, xs, ys) @ directions
            for xs, ys in zip(x.split(size), y.split(size), strict=True)
        ]
        return torch.cat(parts)

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

    def linearise(self, omega: Tensor, x: Tensor, y: Tensor, weights: Tensor | None = None) -> "Linearised":
        """∇L(ω; w) of a batch with the graph that it took, ready to be differentiated; see `Linearised`."""
        return Linearised(self, omega, x, y, weights)

    def hessian_product(self, omega: Tensor, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """∇²L(ω) v for directions v [P, m], the λI included; forward over reverse (Pearlmutter 1994)."""

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
        return [
            part.view(s).requires_grad_() for part, s in zip(omega.detach().split(self.sizes), self.shapes, strict=True)
        ]

    def _residuals(self, leaves: list[Tensor], x: Tensor, y: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logits z [b, c] and the loss's gradient by them, w_i (π_i − onehot(y_i))/|b|: backward begins there."""
        logits = bind(self.module, iter(leaves), {})(x)
        residuals = (logits.softmax(-1) - one_hot(y, logits)) / len(x)
        return logits, residuals if weights is None else residuals * weights[:, None]

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

    def activation_bytes(self, x: Tensor) -> int:
        """Bytes of one sample's activations, at least those of its input."""
        if not hasattr(self, "_activations"):
            counted: list[int] = []
            hooks = [
                layer.register_forward_hook(lambda _layer, _inputs, output: counted.append(output[0].numel()))
                for layer in self.module.modules()
            ]
            with torch.no_grad():
                self.module(x[:1].to(next(self.module.parameters()).dtype))
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
        shapes, single = self.objective.shapes, len(u) == 1
        parts = zip(u.split(self.objective.sizes, dim=1), shapes, strict=True)
        along = [part.view(shape) if single else part.reshape(-1, *shape) for part, shape in parts]
        *h, d_logits = torch.autograd.grad(
            self._data, self._inputs, along, retain_graph=True, is_grads_batched=not single
        )
        flat = _flat(h) if single else torch.cat([part.flatten(1) for part in h], dim=1)
        products = (d_logits * self._samples).sum(-1)
        return torch.add(flat, u, alpha=self.objective.weight_decay), products[None] if single else products


def bind(module: nn.Module, tensors: Iterator[Tensor], bound: dict[int, nn.Module | Tensor]) -> nn.Module:
    """The module with tensors in the place of its parameters, in the order of `module.parameters()`.

    A shallow copy, layer by layer, that shares all else: what `torch.func.functional_call` does at a fraction of its
    overhead, for plain autograd.

    Args:
        module: The module, left as it is.
        tensors: The tensors.
        bound: What has been bound already, by identity: a layer or a parameter that is used twice stays one.
    """
    if id(module) not in bound:
        bound[id(module)] = copied = object.__new__(type(module))
        own = copied.__dict__  # written past nn.Module's bookkeeping, which is what makes this fast
        own.update(module.__dict__)
        own["_parameters"] = parameters = dict(module._parameters)
        for name, parameter in parameters.items():
            if parameter is not None:
                if id(parameter) not in bound:
                    bound[id(parameter)] = next(tensors)
                parameters[name] = cast(nn.Parameter, bound[id(parameter)])
        own["_modules"] = {
            name: None if child is None else bind(child, tensors, bound) for name, child in module._modules.items()
        }
    return cast(nn.Module, bound[id(module)])


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each sample [b] from logits [b, c] and class indices [b].

    Written as logsumexp(z) − z_y with a one-hot product: under `vmap` on a CPU that is twice as fast as
    `torch.nn.functional.cross_entropy`, whose log-softmax over few classes does not vectorise.
    """
    return torch.logsumexp(logits, -1) - (logits * one_hot(labels, logits)).sum(-1)


def one_hot(labels: Tensor, logits: Tensor) -> Tensor:
    """1 at each label and 0 elsewhere, in the shape and dtype of the logits [b, c]."""
    return _identity(logits.shape[-1], logits.dtype, logits.device)[labels]


@cache
def _identity(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.eye(size, dtype=dtype, device=device)


def chunk_length(bytes_per_item: int) -> int:
    """How many items of that size fit in `CHUNK_BYTES`, at least one."""
    return max(1, CHUNK_BYTES // max(1, math.ceil(bytes_per_item)))


def chunks(count: int, size: int) -> Iterator[slice]:
    """Consecutive slices of at most `size` that cover `count` items."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
