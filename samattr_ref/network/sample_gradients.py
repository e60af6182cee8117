r"""Products of per-sample gradients that are never formed ("ghost" products), layer by layer.

A layer that is linear in its parameters, z_s = W a_s + b at positions s of a sample (one for a linear layer on vectors,
one a pixel for a convolution, whose a_s are image patches), has the per-sample gradient Σ_s δ_s a_sᵀ by W, where
δ_s = ∂ℓ/∂z_s. So

    ⟨∇_W ℓ_i, ∇_W ℓ_q⟩ = Σ_{s,t} ⟨a_is, a_qt⟩ ⟨δ_is, δ_qt⟩,    ⟨∇_W ℓ_i, V⟩ = Σ_s ⟨V a_is, δ_is⟩,

and one forward and one backward pass to the layers' outputs, with no gradient by any parameter, give all of them. For
few positions the products on the left are cheaper, for many the small matrices Σ_s δ_s a_sᵀ: each layer takes what is
cheaper for its shapes. Layers that scale and shift have few parameters, whose per-sample gradients are formed; all
other parameters take `vmap(grad)`. Which layers are which is tried, not believed (`samattr_ref.network.trial`): a layer
that is used in another way than its type says (called twice, a tied weight, an operation in place after it) falls back
too.

Products with per-sample gradients from layer inputs and output gradients: Goodfellow, arXiv 1510.01799; for
convolutions Rochette, Manoel & Tramel, arXiv 1912.06015; chosen layer by layer Bu, Mao & Xu, arXiv 2205.10683.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.nn.functional import group_norm, layer_norm, unfold
from torch.nn.grad import conv2d_weight

from samattr_ref.network.functionals import LOSS, Functional
from samattr_ref.network.matmul import matmul_t
from samattr_ref.network.network import Network
from samattr_ref.support.memory import chunk_bytes, chunk_length, chunks


class LayerGradients(Protocol):
    """Per-sample gradients of a part of the parameters, of b samples, k parameters long."""

    def dense(self) -> Tensor:
        """The gradients themselves, [b, k]."""

    def dot(self, other: "LayerGradients") -> Tensor:
        """Inner products with those of other samples, [b, m]."""

    def along(self, directions: Tensor) -> Tensor:
        """Inner products with directions [k, m]: [b, m]."""

    def weighted(self, weights: Tensor) -> Tensor:
        """Sums over the samples with weights [m, b]: [m, k]."""

    def squared_norms(self) -> Tensor:
        """Of each sample's, [b]."""


@dataclass(frozen=True, eq=False)
class Formed:
    """Gradients of few parameters, or of a layer that nothing is known of, as they are: [b, k]."""

    rows: Tensor

    def dense(self) -> Tensor:
        """[b, k]."""
        return self.rows

    def dot(self, other: "LayerGradients") -> Tensor:
        """[b, m]."""
        return self.rows @ other.dense().T

    def along(self, directions: Tensor) -> Tensor:
        """[b, m]."""
        return self.rows @ directions

    def weighted(self, weights: Tensor) -> Tensor:
        """[m, k]."""
        return weights @ self.rows

    def squared_norms(self) -> Tensor:
        """[b]."""
        return self.rows.square().sum(1)


@dataclass(frozen=True, eq=False)
class Affine:
    """Gradients of W and b of z_s = W a_s + b.

    Attributes:
        x: What a is made of: here a itself, [b, s, in].
        deltas: δ, [b, s, out].
        bias: Whether there is a b.
    """

    x: Tensor
    deltas: Tensor
    bias: bool

    def inputs(self, part: slice = slice(None)) -> Tensor:
        """The a_s of all samples or of a part of them, [b, s, in]."""
        return self.x[part]

    @property
    def width(self) -> int:
        """How long an a_s is."""
        return self.x.shape[2]

    def matrices(self) -> Tensor:
        """Σ_s δ_s a_sᵀ of each sample, [b, out · in]."""
        return torch.bmm(self.deltas.transpose(1, 2), self.inputs()).flatten(1)

    def dense(self) -> Tensor:
        """[b, out · in], and out more with a bias."""
        return torch.cat([self.matrices(), self.deltas.sum(1)], dim=1) if self.bias else self.matrices()

    def dot(self, other: "LayerGradients") -> Tensor:
        """[b, m]."""
        assert isinstance(other, Affine)
        found = self._dot_weights(other)
        return found.addmm_(self.deltas.sum(1), other.deltas.sum(1).T) if self.bias else found

    def along(self, directions: Tensor) -> Tensor:
        """[b, m]."""
        b, s, out = self.deltas.shape
        m = directions.shape[1]
        if s > 1:
            return self.dense() @ directions
        inputs = self.inputs()[:, 0]
        width = inputs.shape[1]
        V = directions[: out * width].view(out, width, m).transpose(0, 1).reshape(width, out * m)
        along = matmul_t(inputs, V.T)
        if self.bias:
            along += directions[out * width :].reshape(-1)
        return torch.bmm(self.deltas, along.view(b, out, m))[:, 0]

    def weighted(self, weights: Tensor) -> Tensor:
        """[m, k]; where a sample has one position, without forming its gradient."""
        if self.deltas.shape[1] > 1 or len(weights) > self.width:
            return weights @ self.dense()
        deltas, inputs = self.deltas[:, 0], self.inputs()[:, 0]
        scaled = (weights[:, None] * deltas.T).flatten(0, 1)
        found = matmul_t(scaled, inputs.T).view(len(weights), -1)
        return torch.cat([found, weights @ deltas], dim=1) if self.bias else found

    def squared_norms(self) -> Tensor:
        """[b]: Σ_{s,t} ⟨a_s, a_t⟩ ⟨δ_s, δ_t⟩ for few positions, of the small matrices for many."""
        b, s, out = self.deltas.shape
        if s == 1:
            found = self.inputs()[:, 0].square().sum(1) * self.deltas[:, 0].square().sum(1)
        else:
            pairs = s * (self.width + out) < self.width * out
            each = s * (self.width + 2 * s) if pairs else self.width * (out + s)
            parts = chunks(b, chunk_length(each * self.deltas.element_size()))
            found = torch.cat([self._squared_by_pairs(p) if pairs else self._squared_by_matrices(p) for p in parts])
        return found.add_(self.deltas.sum(1).square().sum(1)) if self.bias else found

    def _squared_by_pairs(self, part: slice) -> Tensor:
        a, deltas = self.inputs(part), self.deltas[part]
        return (a @ a.transpose(1, 2)).mul_(deltas @ deltas.transpose(1, 2)).sum((1, 2))

    def _squared_by_matrices(self, part: slice) -> Tensor:
        return replace(self, x=self.x[part], deltas=self.deltas[part]).matrices().square_().sum(1)

    def _dot_weights(self, other: "Affine") -> Tensor:
        """Σ_{s,t} ⟨a_is, a_qt⟩ ⟨δ_is, δ_qt⟩, [b, m], in the cheaper order of contraction."""
        (b, s, out), (m, t, _), width = self.deltas.shape, other.deltas.shape, self.width
        pairs = b * m * s * t * (width + out)
        formed = (b + m) * max(s, t) * width * out + b * m * width * out
        if formed < pairs and m * width * out * self.deltas.element_size() <= chunk_bytes():
            return matmul_t(self.matrices(), other._kept)
        theirs = other.inputs()
        if s == t == 1:
            both = matmul_t(self.inputs()[:, 0], theirs[:, 0])
            return both.mul_(matmul_t(self.deltas[:, 0], other.deltas[:, 0]))
        columns, deltas = theirs.flatten(0, 1).T, other.deltas.flatten(0, 1).T
        parts = []
        for part in chunks(b, chunk_length(s * (2 * m * t + width) * theirs.element_size())):
            both = (self.inputs(part).flatten(0, 1) @ columns).mul_(self.deltas[part].flatten(0, 1) @ deltas)
            parts.append(both.view(-1, s, m, t).sum((1, 3)))
        return torch.cat(parts)

    @cached_property
    def _kept(self) -> Tensor:
        """`matrices`, kept where one set of samples meets many others."""
        return self.matrices()


@dataclass(frozen=True, eq=False)
class Convolution(Affine):
    """Gradients of a convolution: x are its input images, a_s the patches under its kernel.

    Attributes:
        layer: The convolution.
        height: Of its output images.
    """

    layer: nn.Conv2d
    height: int

    def inputs(self, part: slice = slice(None)) -> Tensor:
        """Patches, made when they are needed: they take the kernel's size times the images' memory."""
        layer = self.layer
        assert not isinstance(layer.padding, str)
        return unfold(self.x[part], layer.kernel_size, layer.dilation, layer.padding, layer.stride).transpose(1, 2)

    @property
    def width(self) -> int:
        """How long a patch is."""
        return self.layer.weight[0].numel()

    def matrices(self) -> Tensor:
        """Σ_s δ_s a_sᵀ of each sample, [b, out · in].

        With as many positions as channels or more, one convolution whose groups are the samples is faster, and needs no
        patches; for wide layers on small images patches and a matrix product are.
        """
        b, s, out = self.deltas.shape
        if s < out:
            return super().matrices()
        layer = self.layer
        assert not isinstance(layer.padding, str)
        images = self.x.reshape(1, -1, *self.x.shape[2:])
        deltas = self.deltas.transpose(1, 2).reshape(1, b * out, self.height, -1)
        size = (b * out, *layer.weight.shape[1:])
        stride, padding, dilation = layer.stride, layer.padding, layer.dilation
        found: Tensor = conv2d_weight(images, size, deltas, stride, padding, dilation, groups=b)
        return found.view(b, -1)


@dataclass(frozen=True, eq=False)
class Lookup:
    """Gradients of an embedding's rows: δ of the positions that looked a row up.

    Attributes:
        indices: Rows, int64 [b, s].
        deltas: δ, [b, s, dim].
        rows: How many rows there are.
    """

    indices: Tensor
    deltas: Tensor
    rows: int

    def dense(self) -> Tensor:
        """[b, rows · dim]."""
        b, _, dim = self.deltas.shape
        zeros = self.deltas.new_zeros(b, self.rows, dim)
        return zeros.scatter_add(1, self.indices[..., None].expand_as(self.deltas), self.deltas).flatten(1)

    def dot(self, other: "LayerGradients") -> Tensor:
        """[b, m]."""
        assert isinstance(other, Lookup)
        (b, s), (m, t) = self.indices.shape, other.indices.shape
        indices, deltas = other.indices.flatten(), other.deltas.flatten(0, 1).T
        parts = []
        for part in chunks(b, chunk_length(2 * s * m * t * self.deltas.element_size())):
            same = self.indices[part].flatten()[:, None] == indices
            parts.append(((self.deltas[part].flatten(0, 1) @ deltas) * same).view(-1, s, m, t).sum((1, 3)))
        return torch.cat(parts)

    def along(self, directions: Tensor) -> Tensor:
        """[b, m]."""
        V = directions.view(self.rows, -1, directions.shape[1])
        return torch.stack([(V[i] * d[..., None]).sum((0, 1)) for i, d in zip(self.indices, self.deltas, strict=True)])

    def weighted(self, weights: Tensor) -> Tensor:
        """[m, rows · dim]."""
        return weights @ self.dense()

    def squared_norms(self) -> Tensor:
        """[b]."""
        parts = []
        for part in chunks(len(self.deltas), chunk_length(2 * self.deltas.shape[1] * self.deltas[0, :, 0].nbytes)):
            indices, deltas = self.indices[part], self.deltas[part]
            same = indices[:, :, None] == indices[:, None]
            parts.append(((deltas @ deltas.transpose(1, 2)) * same).sum((1, 2)))
        return torch.cat(parts)


@dataclass(frozen=True, eq=False)
class SampleGradients:
    """∇ℓ_i(ω) of some samples, without the L2 term, in factors.

    Attributes:
        layers: The gradients of each part of the parameters.
        spans: Which entries of ω each part is.
        size: P.
        count: b.
    """

    layers: Sequence[LayerGradients]
    spans: Sequence[Sequence[slice]]
    size: int
    count: int

    def __len__(self) -> int:
        return self.count

    def dense(self) -> Tensor:
        """[b, P]."""
        return self._joined([layer.dense() for layer in self.layers])

    def weighted(self, weights: Tensor) -> Tensor:
        """Σ_i a_gi ∇ℓ_i for rows of weights a [m, b]: [m, P]."""
        return self._joined([layer.weighted(weights) for layer in self.layers])

    def query_bytes(self) -> int:
        """About what one of the samples takes as a query: its factors, what is made and kept of them, and patches."""
        held, passing = 0, 0
        for layer in self.layers:
            held += sum(value.nbytes for value in vars(layer).values() if isinstance(value, Tensor))
            if isinstance(layer, Affine) and layer.deltas.shape[1] > 1:
                b, positions, _ = layer.deltas.shape
                held += b * layer.width * layer.deltas[0, 0].nbytes
                passing = max(passing, b * positions * layer.width * layer.deltas.element_size())
        return (held + passing) // self.count

    def norms(self) -> Tensor:
        """‖∇ℓ_i‖, [b]."""
        return sum_of([layer.squared_norms() for layer in self.layers]).sqrt()

    def dot(self, other: "SampleGradients") -> Tensor:
        """⟨∇ℓ_i, ∇ℓ_q⟩ with those of other samples of the same network, at any ω: [b, m]."""
        return sum_of([mine.dot(theirs) for mine, theirs in zip(self.layers, other.layers, strict=True)])

    def along(self, directions: Tensor) -> Tensor:
        """⟨∇ℓ_i, v_j⟩ for directions v [P, m]: [b, m]."""
        return sum_of(
            [
                layer.along(torch.cat([directions[span] for span in spans]))
                for layer, spans in zip(self.layers, self.spans, strict=True)
            ]
        )

    def _joined(self, parts: Sequence[Tensor]) -> Tensor:
        """Rows [m, P] from those of each layer."""
        whole = parts[0].new_empty(len(parts[0]), self.size)
        for found, spans in zip(parts, self.spans, strict=True):
            at = 0
            for span in spans:
                length = span.stop - span.start
                whole[:, span] = found[:, at : at + length]
                at += length
        return whole


def sum_of(tensors: list[Tensor]) -> Tensor:
    """Their sum, in the first of them."""
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total.add_(tensor)
    return total


Made = Callable[[nn.Module, Tensor, Tensor], LayerGradients]
"""A layer with its input and the gradient by its output, [b, ...] each, to the gradients of its own parameters."""


def _linear(layer: nn.Module, x: Tensor, delta: Tensor) -> LayerGradients:
    return Affine(_rows(x, 1), _rows(delta, 1), layer.bias is not None)


def _convolution(layer: nn.Module, x: Tensor, delta: Tensor) -> LayerGradients:
    assert isinstance(layer, nn.Conv2d)
    return Convolution(x, delta.flatten(2).transpose(1, 2), layer.bias is not None, layer, delta.shape[2])


def _embedding(layer: nn.Module, x: Tensor, delta: Tensor) -> LayerGradients:
    assert isinstance(layer, nn.Embedding)
    return Lookup(x.reshape(len(x), -1), _rows(delta, 1), layer.num_embeddings)


def _group_norm(layer: nn.Module, x: Tensor, delta: Tensor) -> LayerGradients:
    assert isinstance(layer, nn.GroupNorm)
    scaled = delta * group_norm(x, layer.num_groups, None, None, layer.eps)
    return Formed(torch.cat([part.flatten(2).sum(2) if part.ndim > 2 else part for part in (scaled, delta)], dim=1))


def _layer_norm(layer: nn.Module, x: Tensor, delta: Tensor) -> LayerGradients:
    assert isinstance(layer, nn.LayerNorm)
    depth = len(layer.normalized_shape)
    scaled = delta * layer_norm(x, layer.normalized_shape, None, None, layer.eps)
    parts = (scaled, delta) if layer.bias is not None else (scaled,)
    return Formed(torch.cat([_rows(part, depth).sum(1).flatten(1) for part in parts], dim=1))


MADE: dict[type[nn.Module], Made] = {
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    nn.Embedding: _embedding,
    nn.GroupNorm: _group_norm,
    nn.LayerNorm: _layer_norm,
}
"""How the gradients of a layer are made, by its exact type."""


def _rows(x: Tensor, depth: int) -> Tensor:
    """[b, ..., *last `depth` dimensions] as [b, s, *last]."""
    return x.reshape(len(x), -1, *x.shape[x.ndim - depth :])


class GhostEngine:
    """Per-sample gradients of one network.

    Args:
        network: The network.
        layers: The layers whose gradients are made of their inputs and output gradients, by name; none to begin with.
        traced: Whether `vmap(grad)` gives the gradients of all others; else they are taken one sample at a time.
    """

    def __init__(self, network: Network, layers: Collection[str] = (), traced: bool = False) -> None:
        self.network, self.layout, self.traced = network, network.layout, traced
        self.layers = {name: how for name, how in known_layers(network.module).items() if name in layers}

    def bytes_a_sample(self, activations: int, columns: int, each: int) -> int:
        """About what the factors of one sample and their products with `columns` directions take.

        Patches are not counted: they are either made in parts or are fewer numbers than the gradients made of them.

        Args:
            activations: Bytes of the sample's activations.
            columns: How many directions.
            each: Bytes of a number.
        """
        formed = [
            parameter.numel()
            for layer in self.network.module.modules()
            if type(layer) not in (nn.Linear, nn.Embedding)
            for parameter in layer.parameters(recurse=False)
        ]
        return activations * (2 + columns) + sum(formed) * each

    def gradients(self, omega: Tensor, x: Tensor, y: Tensor, functional: Functional = LOSS) -> SampleGradients:
        """∇ℓ_i(ω) of samples x [b, ...], y [b] at ω [P]: one forward and one backward pass.

        Another functional of the logits may stand in the place of the loss: the passes are the same, from ∂f/∂z.

        Raises:
            RuntimeError: if a layer is not used as its type says: not called just once, or changed in place after it.
        """
        found: list[LayerGradients] = []
        spans: list[list[slice]] = []
        others = dict(self.layout.spans)
        if self.layers:
            for name, recorded, delta in self._recorded(omega, x, y, functional):
                found.append(self.layers[name](recorded.layer, recorded.x, delta))
                spans.append([others.pop(f"{name}.{own}" if name else own) for own in _own(recorded.layer)])
        if others:
            found.append(Formed(self.formed(omega, x, y, others, functional)))
            spans.append(list(others.values()))
        return SampleGradients(found, spans, len(omega), len(x))

    def _recorded(
        self, omega: Tensor, x: Tensor, y: Tensor, functional: Functional
    ) -> list[tuple[str, "Recorded", Tensor]]:
        """The layers in the order of their calls with inputs and outputs, and the gradients by the outputs."""
        seen: dict[str, Recorded] = {}
        bound = self.network.bound(self.layout.views(omega.detach()))
        for name, layer in bound.named_modules():
            if name in self.layers:
                layer.__dict__["forward"] = _recording(seen, name, layer)
        with torch.enable_grad(), self.network.kernels():
            logits = bound(x)
        if len(seen) < len(self.layers) or any(recorded.changed for recorded in seen.values()):
            raise RuntimeError("a layer was not called, or its input or output was changed in place")
        for recorded in seen.values():  # which holds its layer: a cycle would keep both until the collector comes
            del recorded.layer.__dict__["forward"]
        outputs = [recorded.output for recorded in seen.values()]
        deltas = torch.autograd.grad(logits, outputs, functional.of(self.network.loss).by_logits(logits.detach(), y))
        return list(zip(seen, seen.values(), deltas, strict=True))

    def formed(
        self,
        omega: Tensor,
        x: Tensor,
        y: Tensor,
        names: Collection[str] | None = None,
        functional: Functional = LOSS,
    ) -> Tensor:
        """∂ℓ_i by all parameters or by the named ones, whatever the network: [b, k]."""
        names = self.layout.names if names is None else names
        rows = (self._traced if self.traced else self._one_by_one)(omega, x, y, names, functional)
        return torch.cat([part.reshape(len(x), -1) for part in rows], dim=1)

    def _traced(
        self, omega: Tensor, x: Tensor, y: Tensor, names: Collection[str], functional: Functional
    ) -> list[Tensor]:
        parameters, own = self.layout.named(omega.detach()), functional.of(self.network.loss)

        def value(chosen: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            return own.value(self.network(list((parameters | chosen).values()), x[None]), y[None])[0]

        rows = vmap(grad(value), in_dims=(None, 0, 0))({name: parameters[name] for name in names}, x, y)
        return [rows[name] for name in names]

    def _one_by_one(
        self, omega: Tensor, x: Tensor, y: Tensor, names: Collection[str], functional: Functional
    ) -> list[Tensor]:
        leaves = {name: part.requires_grad_() for name, part in self.layout.named(omega.detach()).items()}
        chosen = [leaves[name] for name in names]
        rows, own = [], functional.of(self.network.loss)
        with torch.enable_grad():
            for i in range(len(x)):
                value = own.value(self.network(list(leaves.values()), x[i : i + 1]), y[i : i + 1]).sum()
                rows.append(torch.autograd.grad(value, chosen, allow_unused=True, materialize_grads=True))
        return [torch.stack(parts) for parts in zip(*rows, strict=True)]


def known_layers(module: nn.Module) -> dict[str, Made]:
    """The layers whose gradients could be made of their inputs and output gradients, by what is written on them.

    Not those with a frozen or a shared parameter, nor with a hook or a forward pass of their own.
    """
    uses = Counter(
        id(parameter) for layer in module.modules() for parameter in layer._parameters.values() if parameter is not None
    )

    def plain(layer: nn.Module) -> bool:
        own = [layer._parameters[name] for name in _own(layer)]
        hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
        whole = all(parameter is not None and parameter.requires_grad and uses[id(parameter)] == 1 for parameter in own)
        return bool(own) and whole and not any(hooks) and "forward" not in layer.__dict__

    return {
        name: MADE[type(layer)]
        for name, layer in module.named_modules()
        if type(layer) in MADE and plain(layer) and _pads_with_zeros(layer)
    }


def _pads_with_zeros(layer: nn.Module) -> bool:
    """Whether a layer, where it is a convolution, pads by numbers and with zeros: other patches are not made here."""
    return not isinstance(layer, nn.Conv2d) or (not isinstance(layer.padding, str) and layer.padding_mode == "zeros")


def _own(layer: nn.Module) -> list[str]:
    """The names of a layer's own parameters."""
    return [name for name, parameter in layer._parameters.items() if parameter is not None]


@dataclass(frozen=True, eq=False)
class Recorded:
    """A layer's call: its input and output, and how often each had been changed in place by then."""

    layer: nn.Module
    x: Tensor
    output: Tensor
    versions: tuple[int, int]

    @property
    def changed(self) -> bool:
        """Whether something was changed in place since."""
        return (self.x._version, self.output._version) != self.versions


def _recording(seen: dict[str, Recorded], name: str, layer: nn.Module) -> Callable[..., Tensor]:
    """The layer's forward pass, its input and output written down."""

    def forward(x: Tensor) -> Tensor:
        if name in seen:
            raise RuntimeError(f"the layer '{name}' was called twice")
        if type(layer) is nn.Linear and x.ndim == 2 and not x.requires_grad:  # the first layer: nothing goes through it
            output = matmul_t(x, layer.weight)
            if layer.bias is not None:
                output += layer.bias
        else:
            output = type(layer).forward(layer, x)
        if not output.requires_grad:
            output.requires_grad_()
        seen[name] = Recorded(layer, x.detach(), output, (x._version, output._version))
        return output

    return forward
