"""One network on one flat vector of parameters, and the ways in which it may be called.

A network is the module that a user wrote; what is differentiated is a function of ω. There are three ways from one to
the other, from the fastest to the plainest: the parameters stand in a copy of the layers (`bind`), with or without mean
pooling in slices; or they are lent to the module itself for as long as a call takes, which alone a closure over the
module sees. The plainest is taken until another has been proved to give the same (`samattr_ref.network.proof`).
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import UninitializedParameter

from samattr_ref.network.bind import bind
from samattr_ref.network.flat_parameters import Layout
from samattr_ref.network.kernels import plain_kernels
from samattr_ref.network.losses import CROSS_ENTROPY, Loss
from samattr_ref.network.pooling import with_sliced_pooling
from samattr_ref.support.errors import SamattrError

CALLS = ("sliced", "bound", "lent")
"""How ω gets into a module, the fastest first."""


@dataclass(frozen=True)
class Ways:
    """How a network is called.

    Attributes:
        call: One of `CALLS`.
        plain: Whether torch's fused kernels are put aside, see `samattr_ref.network.kernels`.
        channels_last: Whether images are convolved in the memory format that CPUs are fastest in.
        branches: Whether a forward pass reads values: then it may take another course for another sample, and nothing
            that was tried on some is believed of others.
    """

    call: str = "lent"
    plain: bool = False
    channels_last: bool = False
    branches: bool = False


class Network:
    """A module on a flat vector ω [P] of its trained parameters.

    Args:
        module: Maps inputs [b, ...] to class logits [b, c], or to what else the loss takes, each sample by itself.
        loss: The loss of a sample.

    Attributes:
        module: The module itself.
        loss: The loss of a sample.
        layout: Where each of its parameters stands in ω.
        ways: How it is called.
    """

    def __init__(self, module: nn.Module, loss: Loss = CROSS_ENTROPY) -> None:
        self.module, self.loss, self.layout, self.ways = module, loss, Layout(module), Ways()
        self.pools = any(type(layer) is nn.AvgPool2d for layer in module.modules())
        self._sliced = with_sliced_pooling(module) if self.pools else module
        self.convolves = any(isinstance(layer, nn.Conv2d) for layer in module.modules())
        self._held = threading.RLock()

    def __call__(self, tensors: Sequence[Tensor], x: Tensor) -> Tensor:
        """Logits [b, c] with tensors in the place of the parameters, in the order of the layout."""
        logits: Tensor
        if not self.ways.plain and self.ways.call != "lent":
            logits = self.bound(tensors)(x)
            return logits
        with self._held, self.kernels():
            if self.ways.call == "lent":
                logits = functional_call(self.module, dict(zip(self.layout.names, tensors, strict=True)), (x,))
            else:
                logits = self.bound(tensors)(x)
            return logits

    def bound(self, tensors: Sequence[Tensor]) -> nn.Module:
        """A copy of the layers with tensors in the place of the parameters."""
        return bind(self._sliced if self.ways.call == "sliced" else self.module, iter(tensors), {})

    def kernels(self) -> AbstractContextManager[None]:
        """Torch's own kernels, or within the block the plain ones."""
        return plain_kernels() if self.ways.plain else nullcontext()

    @property
    def by_threads(self) -> bool:
        """Whether several threads may call it at once: what is lent to one, or switched for one, is so for all."""
        return self.ways.call != "lent" and not self.ways.plain

    def images(self, x: Tensor) -> Tensor:
        """Inputs in the memory format in which they are convolved without being rearranged."""
        if self.ways.channels_last and self.could_be_channels_last(x):
            return x.contiguous(memory_format=torch.channels_last)
        return x

    def could_be_channels_last(self, x: Tensor) -> bool:
        """Whether the inputs are images that a CPU convolves."""
        return self.convolves and x.dim() == 4 and x.device.type == "cpu"

    @property
    def trained(self) -> list[nn.Parameter]:
        """The parameters that are trained, in the order of ω."""
        return [parameter for parameter in self.module.parameters() if parameter.requires_grad]

    @contextmanager
    def holding(self, omega: Tensor) -> Iterator[nn.Module]:
        """The module itself with ω in its own parameters, as an optimiser leaves it there; restored afterwards.

        It is what every other way of calling it is held against.
        """
        trained = self.trained
        before = [parameter.detach().clone() for parameter in trained]
        try:
            for parameter, part in zip(trained, self.layout.views(omega.detach()), strict=True):
                parameter.data.copy_(part)
            yield self.module
        finally:
            for parameter, part in zip(trained, before, strict=True):
                parameter.data.copy_(part)

    def plain_gradient(self, omega: Tensor, x: Tensor, y: Tensor) -> tuple[float, Tensor]:
        """The mean loss of a batch and its gradient [P] as plain PyTorch takes them, the module holding ω."""
        with self.holding(omega) as module, torch.enable_grad():
            loss = self.loss.value(module(x), y).mean()
            parts = torch.autograd.grad(loss, self.trained, allow_unused=True, materialize_grads=True)
        return float(loss.detach()), torch.cat([part.reshape(-1) for part in parts])

    @contextmanager
    def in_double(self) -> Iterator[None]:
        """The module in float64 within the block."""
        dtype = self.trained[0].dtype
        try:
            self.module.double()
            yield
        finally:
            self.module.to(dtype)


def prepared(module: nn.Module, x: Tensor, dtype: torch.dtype) -> nn.Module:
    """A module as a user built it, ready to be differentiated: what torch compiled is the module that it was made of.

    Args:
        module: The module.
        x: An input [1, ...], for lazy layers, whose parameters are drawn at the first call.
        dtype: What its parameters and buffers become.

    Raises:
        SamattrError: for a scripted or traced module.
    """
    module = _uncompiled(module)
    for name, layer in module.named_modules():
        if isinstance(layer, torch.jit.ScriptModule):
            what = f"layer '{name}' is" if name else "the network is"
            raise SamattrError(
                f"{what} scripted or traced, which cannot be differentiated twice: give the module as it is in Python"
            )
        if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
            layer.sparse = False  # the same gradients, as dense tensors
    if any(isinstance(parameter, UninitializedParameter) for parameter in module.parameters()):
        with torch.no_grad():
            module.to(dtype)(x)
    return module.to(dtype)


def _uncompiled(module: nn.Module) -> nn.Module:
    """The module with every `torch.compile` in it undone."""
    if type(module).__name__ == "OptimizedModule" and "_orig_mod" in module._modules:
        return _uncompiled(module._modules["_orig_mod"])  # type: ignore[arg-type]
    module._compiled_call_impl = None
    for name, child in module._modules.items():
        if child is not None and (plain := _uncompiled(child)) is not child:
            module._modules[name] = plain
    return module
