"""Networks and data sources as users write them: each is attributed right, or refused in one line.

A row says which; every test in `test_zoo.py` runs over all of them.
"""

import functools
import itertools
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 — torch's own name for it
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

import samattr_ref as sr
from samattr_ref.network.losses import CROSS_ENTROPY
from samattr_ref.network.models import Residual
from samattr_ref.support.device import device

N_TRAIN = 40
SIZES = (N_TRAIN, 5, 3, 3)
"""Training points, queries, tuning and validation points."""


@dataclass(frozen=True)
class Points:
    """Random inputs with labels that a linear map of them says, but for some noise.

    Attributes:
        shape: Of an input.
        below: Whole numbers below it instead of normal ones.
        dtype: Of the inputs.
        labels: The dtype of the labels.
        n_classes: Number of classes.
        bordered: How many of the first images are black at their borders.
    """

    shape: tuple[int, ...] = (4,)
    below: int | None = None
    dtype: torch.dtype = torch.float64
    labels: torch.dtype = torch.int64
    n_classes: int = 3
    bordered: int = 0

    def load(self, seed: int) -> sr.Splits:
        generator, size = torch.Generator().manual_seed(seed), (sum(SIZES), *self.shape)
        x = torch.randn(size, generator=generator, dtype=torch.float64)
        if self.below is not None:
            x = torch.randint(self.below, size, generator=generator)
        x[: self.bordered] *= F.pad(torch.ones(4, 4), (1, 1, 1, 1)).to(x) if self.bordered else 1
        features = x.double().flatten(1) - x.double().mean()
        features = torch.cat([features / features.std(), torch.randn(len(x), 2, generator=generator)], dim=1)
        scores = features @ torch.randn(features.shape[1], self.n_classes, generator=generator, dtype=torch.float64)
        sets = zip(x.to(self.dtype).split(SIZES), scores.argmax(1).to(self.labels).split(SIZES), strict=True)
        return sr.Splits(*(sr.Examples(*pair) for pair in sets), torch.zeros(N_TRAIN, dtype=torch.bool), self.n_classes)


VECTORS, IMAGES, COLOURS = Points(), Points((1, 6, 6)), Points((3, 8, 8))
TOKENS, FLOAT_TOKENS = Points((5,), below=7, dtype=torch.int64), Points((5,), below=7)


@dataclass(frozen=True)
class Network:
    """A model recipe from a function that makes the module."""

    make: Callable[[], nn.Module]

    def build(self, input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
        return self.make()


@dataclass(frozen=True)
class Animal:
    """A row.

    Attributes:
        make: Makes the module, under the seed of the initial parameters.
        data: Where its points come from.
        refused: What the one line says that refuses it, as a regular expression; None: it must be right.
        kinks: Whether finite differences of whole runs meet kinks.
        model: The model recipe, where it is none that makes a module.
        loss: What it is trained on.
        reordered: Whether its backward pass adds up in another order each time on a CUDA device, where it has no other.
    """

    make: Callable[[], nn.Module]
    data: Any = VECTORS
    refused: str | None = None
    kinks: bool = False
    model: Any = None
    reordered: bool = False
    loss: sr.Loss = CROSS_ENTROPY


RECIPE = {"rho": 0.1, "steps": 8, "batch_size": 10, "learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.01}


def workload_of(animal: Animal, **recipe: Any) -> sr.Workload:
    model = Network(animal.make) if animal.model is None else animal.model
    return sr.Workload("zoo", animal.data, model, sr.SamRecipe(**(RECIPE | recipe)), dtype="float64", loss=animal.loss)


class Net(nn.Module):
    """Layers by name, and what is done with them."""

    def __init__(self, steps: Callable[..., Tensor], **layers: Any) -> None:
        super().__init__()
        self.steps = steps
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.steps(self, x)


def mlp(act: nn.Module, **settings: Any) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5, **settings), act, nn.Linear(5, 3, **settings))


def cnn(*layers: nn.Module, features: int = 8, pool: int = 3) -> nn.Module:
    return nn.Sequential(*layers, nn.Tanh(), nn.AvgPool2d(pool), nn.Flatten(), nn.Linear(features, 3))


class Quiet(nn.Module):
    """A layer that gives nothing back."""

    def forward(self, x: Tensor) -> None:
        assert torch.isfinite(x).all()


class Both(nn.Module):
    """A layer that gives a dict or a tuple back."""

    def __init__(self, kind: type) -> None:
        super().__init__()
        self.kind, self.a, self.b = kind, nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Any:
        found = {"a": self.a(x), "b": self.b(x)}
        return found if self.kind is dict else tuple(found.values())


class TiedClosure(nn.Module):
    """Logits by the embedding's own rows, through a function that holds on to the module."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.mix = nn.Embedding(7, 3), nn.Linear(3, 3)
        self.to_logits = lambda t: t @ self.emb.weight.t()

    def forward(self, x: Tensor) -> Tensor:
        return self.to_logits(torch.tanh(self.mix(self.emb(x.long()).mean(1))))


class ChosenForward(nn.Module):
    """A module that chooses its forward pass when it is made."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 3)
        self.forward = self._smooth

    def _smooth(self, x: Tensor) -> Tensor:
        return self.b(torch.tanh(self.a(x)))


class Partial(nn.Module):
    """A module that keeps a part of itself as a bound function."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 3)
        self.hidden = functools.partial(self._hidden, slope=0.5)

    def _hidden(self, x: Tensor, slope: float) -> Tensor:
        return torch.tanh(slope * self.a(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.hidden(x))


class HookOnSelf(nn.Module):
    """A hook on a layer that reads a parameter of the whole."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.net = nn.Parameter(torch.rand(5)), mlp(nn.Tanh())
        self.net[0].register_forward_hook(lambda layer, inputs, output: output * self.scale)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class ByValue(nn.Module):
    """A function that holds on to a tensor made of the first parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.out = nn.Parameter(torch.randn(4, 5) / 2), nn.Linear(5, 3)
        weight = self.weight
        self.hidden = lambda x: torch.tanh(x @ weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.hidden(x))


class Containers(nn.Module):
    """Every container that torch has."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.named = nn.ModuleDict({"out": nn.Linear(4, 3)})
        self.shifts = nn.ParameterList([nn.Parameter(torch.zeros(4)), nn.Parameter(torch.rand(4))])
        self.scales = nn.ParameterDict({"out": nn.Parameter(torch.ones(3))})

    def forward(self, x: Tensor) -> Tensor:
        for layer, shift in zip(self.layers, self.shifts, strict=True):
            x = torch.tanh(layer(x) + shift)
        return self.named["out"](x) * self.scales["out"]


class InLists(nn.Module):
    """Layers that stand in a plain list or dict too, from where they are called."""

    def __init__(self, kind: type) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 3)
        self.all = kind([("a", self.a), ("b", self.b)])

    def forward(self, x: Tensor) -> Tensor:
        first, second = dict(self.all).values()
        return second(torch.tanh(first(x)))


class Block(nn.Module):
    """A residual block as torchvision writes them, with group norm."""

    def __init__(self, channels: int, *, inplace: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(1, channels)
        self.relu = nn.ReLU(inplace=inplace)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(1, channels)

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        out += x
        return self.relu(out)


class Attention(nn.Module):
    """Tokens, a layer of attention over them, and their mean."""

    def __init__(self, layer: nn.Module | None = None, width: int = 2, **settings: Any) -> None:
        super().__init__()
        self.emb, self.head, self.layer, self.settings = nn.Embedding(7, width), nn.Linear(width, 3), layer, settings
        self.qkv = nn.Linear(2, 6) if layer is None else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.emb(x.long())
        if self.layer is None:
            x = F.scaled_dot_product_attention(*self.qkv(x).chunk(3, -1), **self.settings)
        elif isinstance(self.layer, nn.MultiheadAttention):
            x, _ = self.layer(x, x, x, **self.settings)
        else:
            x = self.layer(x)
        return self.head(x.mean(1))


class Recurrent(nn.Module):
    """A recurrent layer over the tokens; its last output counts."""

    def __init__(self, layer: nn.Module, width: int = 2) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :3, None].to(self.head.weight.dtype) / 3 - 1  # three steps say all, five take longer
        if isinstance(self.layer, nn.RNNBase):
            return self.head(self.layer(x)[0][:, -1])
        state = None
        for t in range(x.shape[1]):
            state = self.layer(x[:, t], state)
        return self.head(state[0] if isinstance(state, tuple) else state)


class ByRows(nn.Module):
    """Control flow by the values of each sample."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.stack([torch.tanh(self.a(row) if row[0].item() > 0 else self.b(row)) for row in x]))


class Cube(torch.autograd.Function):
    """x³ by a function in the old style, twice differentiable."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return 3 * ctx.saved_tensors[0] ** 2 * grad


class CubeOnce(Cube):
    """The same, which says that it has no second derivative."""

    backward = staticmethod(torch.autograd.function.once_differentiable(Cube.backward))


class WrongCube(Cube):
    """The same with a wrong derivative."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] ** 2 * grad


class Reversal(torch.autograd.Function):
    """The identity, whose gradient is turned round."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return -grad


class Symmetric(nn.Module):
    """A parametrization of symmetric matrices."""

    def forward(self, x: Tensor) -> Tensor:
        return x.triu() + x.triu(1).T


class Energy(nn.Module):
    """A force as logits: its forward pass takes a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x[:, :3].detach().requires_grad_()
            return torch.autograd.grad(self.net(x).sum(), x, create_graph=True)[0]


class Optional(nn.Module):
    """A forward pass with arguments that nobody gives."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor, *rest: Tensor, mask: Tensor | None = None, scale: float = 1.0) -> Tensor:
        h = torch.tanh(self.a(x) * scale)
        return self.b(h if mask is None else h * mask)


class Described(nn.Module):
    """A parameter behind a property, as base classes have them."""

    def __init__(self) -> None:
        super().__init__()
        self._w, self.out = nn.Parameter(torch.randn(4, 5) / 2), nn.Linear(5, 3)

    @property
    def weight(self) -> Tensor:
        return self._w / self._w.norm(dim=0)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(x @ self.weight))


NAMELESS: dict[str, Any] = {"nn": nn, "torch": torch}
exec(
    """
class Typed(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.b(torch.tanh(self.a(x)))
""",
    NAMELESS,
)


def added(h: Tensor, x: Tensor) -> Tensor:
    h += x
    return h.mul_(0.5)


def locked(net: nn.Module, x: Tensor) -> Tensor:
    with net.lock:
        return net.net(x)


def without_gradient(x: Tensor) -> Tensor:
    with torch.no_grad():
        return (x.sum(1, keepdim=True) > 0) + 0.5


def transformer(**settings: Any) -> nn.Module:
    return nn.TransformerEncoderLayer(3, 3, 4, dropout=0.0, batch_first=True, **settings)


def with_first(module: nn.Module, change: Callable[[Any], Any]) -> nn.Module:
    """The module with something done to its first layer."""
    change(module[0])
    return module


def frozen(module: nn.Module, *names: str) -> nn.Module:
    for name in names:
        module.get_parameter(name).requires_grad_(False)
    return module


def tied(module: nn.Module) -> nn.Module:
    module.head.weight = module.emb.weight
    return module


def zeroed(module: nn.Module, *names: str) -> nn.Module:
    for name in names:
        nn.init.zeros_(module.get_parameter(name))
    return module


def running(module: nn.Module) -> nn.Module:
    """The module in eval mode, its running statistics those of some training long ago."""
    for name, buffer in module.named_buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 2.0) if name.endswith("var") else buffer.normal_()
    return module.eval()


def act_twice() -> nn.Module:
    act = nn.Tanh()
    return nn.Sequential(nn.Linear(4, 4), act, nn.Linear(4, 4), act, nn.Linear(4, 3))


def inplace_twice() -> nn.Module:
    act = nn.ReLU(inplace=True)
    return nn.Sequential(nn.Linear(4, 4), act, nn.Linear(4, 4), act, nn.Linear(4, 3))


def linear_twice(head: nn.Module) -> nn.Module:
    twice = nn.Linear(4, 4)
    return nn.Sequential(twice, nn.Tanh(), twice, nn.Tanh(), head)


def two_branches() -> nn.Module:
    act = nn.GELU()
    branches = {"a": nn.Sequential(nn.Linear(4, 4), act), "b": nn.Sequential(nn.Linear(4, 4), act)}
    return Net(lambda net, x: net.out(net.a(x) * net.b(x)), out=nn.Linear(4, 3), **branches)


def drawn_by_others() -> nn.Module:
    module = mlp(nn.Tanh())
    module[0].weight.data = torch.tensor(np.random.randn(5, 4) / 2)  # noqa: NPY002 — as users do
    module[2].bias.data = torch.tensor([random.random() for _ in range(3)])
    return module


def lazy(module: nn.Module) -> nn.Module:
    module(torch.zeros(1, 4))
    return module


def trained_once(module: nn.Module) -> nn.Module:
    """The module in eval mode, after calls that its power iteration has converged in."""
    for _ in range(20):
        module(torch.zeros(1, 4))
    return module.eval()


def embedded(embedding: nn.Module, head: nn.Module, change: Callable[[Tensor], Tensor] = Tensor.long) -> nn.Module:
    return Net(lambda net, x: net.head(net.emb(change(x)).flatten(1)), emb=embedding, head=head)


def between(function: Callable[[Tensor], Tensor]) -> nn.Module:
    """A function between two linear layers."""
    return Net(lambda net, x: net.b(function(net.a(x))), a=nn.Linear(4, 5), b=nn.Linear(5, 3))


def after(function: Callable[[Tensor], Any]) -> nn.Module:
    """A function of the logits."""
    return Net(lambda net, x: function(net.net(x)), net=mlp(nn.Tanh()))


def backbone() -> nn.Module:
    return frozen(cnn(nn.Conv2d(1, 2, 3, padding=1)), "0.weight", "0.bias")


CHAINS = {
    "logreg": Animal(lambda: nn.Linear(4, 3)),
    "tanh": Animal(lambda: mlp(nn.Tanh())),
    "gelu": Animal(lambda: mlp(nn.GELU())),
    "gelu-tanh": Animal(lambda: mlp(nn.GELU(approximate="tanh"))),
    "silu": Animal(lambda: mlp(nn.SiLU())),
    "softplus": Animal(lambda: mlp(nn.Softplus())),
    "softplus-beta": Animal(lambda: mlp(nn.Softplus(beta=3.0, threshold=2.0)), kinks=True),
    "relu": Animal(lambda: mlp(nn.ReLU()), kinks=True),
    "sigmoid": Animal(lambda: mlp(nn.Sigmoid())),
    "prelu": Animal(lambda: mlp(nn.PReLU()), kinks=True),
    "softmax": Animal(lambda: mlp(nn.Softmax(dim=-1))),
    "log-softmax-output": Animal(lambda: nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(dim=-1))),
    "glu": Animal(lambda: nn.Sequential(nn.Linear(4, 6), nn.GLU(), nn.Linear(3, 3))),
    "identity": Animal(lambda: mlp(nn.Identity())),
    "no-activation": Animal(lambda: nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))),
    "no-bias": Animal(lambda: mlp(nn.Tanh(), bias=False)),
    "nested": Animal(
        lambda: nn.Sequential(nn.Sequential(nn.Sequential(nn.Linear(4, 4)), nn.Tanh()), nn.Sequential(nn.Linear(4, 3)))
    ),
    "flattened-images": Animal(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 2), nn.Tanh(), nn.Linear(2, 3)), IMAGES
    ),
    "activation-twice": Animal(act_twice),
    "activation-of-two-branches": Animal(two_branches),
    "linear-twice": Animal(lambda: linear_twice(nn.Linear(4, 3))),
    "linear-twice-behind-zero": Animal(lambda: linear_twice(zeroed(nn.Linear(4, 3), "weight"))),
    "zero-head": Animal(lambda: zeroed(mlp(nn.Tanh()), "2.weight", "2.bias")),
    "zero-last-bias": Animal(lambda: zeroed(mlp(nn.Tanh()), "2.bias")),
    "more-outputs": Animal(lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 5))),
}

PARAMETERS = {
    "tied-weight": Animal(
        lambda: tied(
            Net(
                lambda net, x: net.head(torch.tanh(net.mix(net.emb(x.long()).mean(1)))),
                emb=nn.Embedding(7, 3),
                mix=nn.Linear(3, 3),
                head=nn.Linear(3, 7, bias=False),
            )
        ),
        TOKENS,
    ),
    "tied-closure": Animal(TiedClosure, TOKENS),
    "tied-transposed": Animal(
        lambda: Net(
            lambda net, x: net.head(torch.tanh(torch.tanh(net.a(x)) @ net.a.weight)),
            a=nn.Linear(4, 4),
            head=nn.Linear(4, 3),
        )
    ),
    "chosen-forward": Animal(ChosenForward),
    "partial": Animal(Partial),
    "property": Animal(Described),
    "in-a-list": Animal(lambda: InLists(list)),
    "in-a-dict": Animal(lambda: InLists(dict)),
    "unused-head": Animal(lambda: Net(lambda net, x: net.net(x), net=mlp(nn.Tanh()), head=nn.Linear(4, 2))),
    "unused-parameter": Animal(
        lambda: Net(lambda net, x: net.net(x), net=mlp(nn.Tanh()), extra=nn.Parameter(torch.ones(2)))
    ),
    "logit-scale": Animal(
        lambda: Net(
            lambda net, x: net.net(x) * net.logit_scale.exp(),
            net=mlp(nn.Tanh()),
            logit_scale=nn.Parameter(torch.zeros(())),
        )
    ),
    "bare-parameter": Animal(lambda: Net(lambda net, x: x @ net.w, w=nn.Parameter(torch.randn(4, 3)))),
    "bilinear": Animal(lambda: Net(lambda net, x: net.b(x, torch.tanh(x)), b=nn.Bilinear(4, 4, 3))),
    "einsum": Animal(
        lambda: Net(lambda net, x: torch.einsum("bi,bj,ijc->bc", x, x, net.w), w=nn.Parameter(torch.randn(4, 4, 3) / 4))
    ),
    "containers": Animal(Containers),
    "returns-dict": Animal(lambda: Net(lambda net, x: net.both(x)["a"] * net.both(x)["b"], both=Both(dict))),
    "returns-tuple": Animal(lambda: Net(lambda net, x: torch.mul(*net.both(x)), both=Both(tuple))),
    "returns-none": Animal(
        lambda: Net(lambda net, x: (net.check(x), net.net(x))[1], check=Quiet(), net=mlp(nn.Tanh()))
    ),
    "optional-arguments": Animal(Optional),
    "no-source": Animal(lambda: NAMELESS["Typed"]()),
    "lock": Animal(lambda: Net(locked, net=mlp(nn.Tanh()), lock=threading.Lock())),
    "plain-tensor": Animal(
        lambda: Net(lambda net, x: net.net(x * net.scale), net=mlp(nn.Tanh()), scale=torch.tensor(2.0))
    ),
    "lazy": Animal(lambda: lazy(nn.Sequential(nn.LazyLinear(5), nn.Tanh(), nn.LazyLinear(3)))),
    "lazy-not-called-yet": Animal(lambda: nn.Sequential(nn.LazyLinear(5), nn.Tanh(), nn.LazyLinear(3))),
    "drawn-by-others": Animal(drawn_by_others),
    "functional-activation": Animal(
        lambda: Net(lambda net, x: net.b(net.act(net.a(x))), a=nn.Linear(4, 5), b=nn.Linear(5, 3), act=F.silu)
    ),
}

FROZEN = {
    "frozen-first": Animal(lambda: frozen(mlp(nn.Tanh()), "0.weight", "0.bias")),
    "frozen-last": Animal(lambda: frozen(mlp(nn.Tanh()), "2.weight", "2.bias")),
    "frozen-bias": Animal(lambda: frozen(mlp(nn.Tanh()), "0.bias")),
    "frozen-weight": Animal(lambda: frozen(mlp(nn.Tanh()), "0.weight")),
    "frozen-embedding": Animal(lambda: frozen(embedded(nn.Embedding(7, 2), nn.Linear(10, 3)), "emb.weight"), TOKENS),
    "frozen-backbone": Animal(backbone, IMAGES),
    "frozen-middle": Animal(lambda: frozen(act_twice(), "2.weight", "2.bias")),
    "frozen-indices": Animal(
        lambda: Net(
            lambda net, x: net.net(x[:, net.order]),
            net=mlp(nn.Tanh()),
            order=nn.Parameter(torch.tensor([2, 0, 3, 1]), requires_grad=False),
        )
    ),
}

IMAGE_NETWORKS = {
    **{
        f"padding-{mode}": Animal(lambda mode=mode: cnn(nn.Conv2d(1, 2, 3, padding=1, padding_mode=mode)), IMAGES)
        for mode in ("zeros", "circular", "reflect", "replicate")
    },
    "padding-circular-bordered": Animal(
        lambda: cnn(nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular")), replace(IMAGES, bordered=8)
    ),
    "padding-same": Animal(lambda: cnn(nn.Conv2d(1, 2, 3, padding="same")), IMAGES),
    "padding-same-even": Animal(lambda: cnn(nn.Conv2d(1, 2, 4, padding="same", dilation=1)), IMAGES),
    "padding-valid": Animal(lambda: cnn(nn.Conv2d(1, 2, 3, padding="valid"), pool=2), IMAGES),
    "padding-two-sizes": Animal(lambda: cnn(nn.Conv2d(1, 2, (1, 3), padding=(0, 1))), IMAGES),
    "colour": Animal(lambda: cnn(nn.Conv2d(3, 2, 3, padding=1), pool=4), COLOURS),
    "groups": Animal(lambda: cnn(nn.Conv2d(3, 6, 3, padding=1, groups=3), pool=8, features=6), COLOURS),
    "depthwise": Animal(lambda: cnn(nn.Conv2d(3, 3, 3, padding=1, groups=3), nn.Conv2d(3, 2, 1), pool=4), COLOURS),
    "dilation": Animal(lambda: cnn(nn.Conv2d(1, 2, 3, padding=2, dilation=2)), IMAGES),
    "stride": Animal(lambda: cnn(nn.Conv2d(1, 2, 3, padding=1, stride=2), pool=1, features=18), IMAGES),
    "stride-bias-free": Animal(lambda: cnn(nn.Conv2d(1, 2, 2, stride=2, bias=False), pool=1, features=18), IMAGES),
    "convolution-twice": Animal(lambda: cnn(*[nn.Conv2d(1, 1, 3, padding=1)] * 2, features=4), IMAGES),
    "conv-1d": Animal(
        lambda: nn.Sequential(
            nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 2, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3)
        )
    ),
    "conv-3d": Animal(
        lambda: nn.Sequential(
            nn.Unflatten(1, (1, 1)),
            nn.Conv3d(1, 2, (1, 3, 3), stride=(1, 3, 3)),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(8, 3),
        ),
        IMAGES,
    ),
    "conv-transposed": Animal(lambda: cnn(nn.ConvTranspose2d(1, 2, 2, stride=2), pool=6), IMAGES),
    "conv-view": Animal(
        lambda: Net(
            lambda net, x: net.out(torch.tanh(net.conv(x)).view(len(x), -1)),
            conv=nn.Conv2d(3, 2, 3, stride=3),
            out=nn.Linear(8, 3),
        ),
        COLOURS,
    ),
    "channels-last": Animal(
        lambda: Net(
            lambda net, x: net.net(x.to(memory_format=torch.channels_last)),
            net=cnn(nn.Conv2d(3, 2, 3, padding=1), pool=4),
        ),
        COLOURS,
    ),
    "upsampled": Animal(
        lambda: cnn(nn.Conv2d(1, 2, 3), nn.Upsample(scale_factor=2, mode="bilinear"), pool=4), IMAGES, reordered=True
    ),
    "pixel-shuffle": Animal(lambda: cnn(nn.Conv2d(1, 4, 3, padding=1), nn.PixelShuffle(2), pool=6, features=4), IMAGES),
    **{
        f"pool-{name}": Animal(
            lambda pool=pool, features=features: nn.Sequential(
                nn.Conv2d(1, 2, 3, padding=1), nn.Tanh(), pool(), nn.Flatten(), nn.Linear(features, 3)
            ),
            IMAGES,
            kinks=name == "max",
        )
        for name, features, pool in (
            ("mean", 18, lambda: nn.AvgPool2d(2)),
            ("overlapping", 8, lambda: nn.AvgPool2d(3, stride=2)),
            ("ceil-mode", 8, lambda: nn.AvgPool2d(4, ceil_mode=True)),
            ("padded", 32, lambda: nn.AvgPool2d(2, padding=1)),
            ("count-include-pad", 32, lambda: nn.AvgPool2d(2, padding=1, count_include_pad=False)),
            ("divisor", 18, lambda: nn.AvgPool2d(2, divisor_override=3)),
            ("two-sizes", 12, lambda: nn.AvgPool2d((2, 3), stride=(2, 3))),
            ("adaptive", 12, lambda: nn.AdaptiveAvgPool2d((2, 3))),
            ("max", 8, lambda: nn.MaxPool2d(3)),
            ("lp", 8, lambda: nn.LPPool2d(2, 3)),
        )
    },
    "residual": Animal(
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=1), Residual(2), nn.AvgPool2d(3), nn.Flatten(), nn.Linear(8, 3)
        ),
        IMAGES,
    ),
    "block": Animal(lambda: cnn(nn.Conv2d(1, 2, 3, padding=1), Block(2, inplace=False)), IMAGES, kinks=True),
    "block-inplace": Animal(lambda: cnn(nn.Conv2d(1, 2, 3, padding=1), Block(2, inplace=True)), IMAGES, kinks=True),
    "uint8-images": Animal(
        lambda: Net(
            lambda net, x: net.net(x.to(net.net[0].weight.dtype) / 255), net=cnn(nn.Conv2d(1, 2, 3, padding=1))
        ),
        replace(IMAGES, below=256, dtype=torch.uint8),
    ),
}

NORMS = {
    **{
        f"{name}-norm": Animal(
            lambda norm=norm: cnn(nn.Conv2d(1, 2, 3, padding=1), norm(), features=8),
            IMAGES,
        )
        for name, norm in (
            ("group", lambda: nn.GroupNorm(2, 2)),
            ("group-plain", lambda: nn.GroupNorm(1, 2, affine=False)),
            ("layer-images", lambda: nn.LayerNorm([6, 6])),
            ("instance", lambda: nn.InstanceNorm2d(2)),
            ("instance-affine", lambda: nn.InstanceNorm2d(2, affine=True)),
            ("local-response", lambda: nn.LocalResponseNorm(2)),
        )
    },
    "layer-norm": Animal(lambda: mlp(nn.Sequential(nn.LayerNorm(5), nn.Tanh()))),
    "layer-norm-plain": Animal(lambda: mlp(nn.Sequential(nn.LayerNorm(5, elementwise_affine=False), nn.Tanh()))),
    "layer-norm-no-bias": Animal(lambda: mlp(nn.Sequential(nn.LayerNorm(5, bias=False), nn.Tanh()))),
    "rms-norm": Animal(lambda: mlp(nn.Sequential(nn.RMSNorm(5), nn.Tanh()))),
    "batch-norm-eval": Animal(lambda: running(cnn(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2))), IMAGES),
    "batch-norm-eval-plain": Animal(lambda: running(mlp(nn.BatchNorm1d(5, affine=False)))),
    "batch-norm-frozen": Animal(lambda: mlp(running(nn.BatchNorm1d(5)))),
    "instance-norm-eval": Animal(
        lambda: running(cnn(nn.Conv2d(1, 2, 3, padding=1), nn.InstanceNorm2d(2, track_running_stats=True))), IMAGES
    ),
}

INPLACE = {
    "relu-inplace": Animal(lambda: mlp(nn.ReLU(inplace=True)), kinks=True),
    "relu-inplace-twice": Animal(inplace_twice, kinks=True),
    "relu-inplace-convolution": Animal(
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3, stride=3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8, 3)),
        IMAGES,
        kinks=True,
    ),
    "hardtanh-inplace": Animal(lambda: mlp(nn.Hardtanh(-0.2, 0.2, inplace=True)), kinks=True),
    "elu-inplace": Animal(lambda: mlp(nn.ELU(inplace=True)), kinks=True),
    "silu-inplace": Animal(lambda: mlp(nn.SiLU(inplace=True))),
    "leaky-relu-inplace": Animal(lambda: mlp(nn.LeakyReLU(0.2, inplace=True)), kinks=True),
    "relu-in-forward": Animal(lambda: between(F.relu_), kinks=True),
    "add-in-forward": Animal(
        lambda: Net(lambda net, x: net.out(torch.tanh(added(net.a(x), x))), a=nn.Linear(4, 4), out=nn.Linear(4, 3))
    ),
    "dropout-0": Animal(lambda: mlp(nn.Sequential(nn.Tanh(), nn.Dropout(0.0, inplace=True)))),
    "dropout-eval": Animal(lambda: mlp(nn.Sequential(nn.Tanh(), nn.Dropout(0.5))).eval()),
    "dropout-in-forward-eval": Animal(
        lambda: Net(lambda net, x: net.net(F.dropout(x, 0.5, net.training)), net=mlp(nn.Tanh())).eval()
    ),
    "rrelu-eval": Animal(lambda: mlp(nn.RReLU()).eval(), kinks=True),
}

SEQUENCES = {
    "embedding": Animal(lambda: embedded(nn.Embedding(7, 2), nn.Linear(10, 3), lambda x: x), TOKENS),
    "embedding-int32": Animal(
        lambda: embedded(nn.Embedding(7, 2), nn.Linear(10, 3), lambda x: x), replace(TOKENS, dtype=torch.int32)
    ),
    "embedding-long": Animal(lambda: embedded(nn.Embedding(7, 2), nn.Linear(10, 3)), FLOAT_TOKENS),
    "embedding-sparse": Animal(lambda: embedded(nn.Embedding(7, 2, sparse=True), nn.Linear(10, 3)), TOKENS),
    "embedding-bag-mean": Animal(lambda: embedded(nn.EmbeddingBag(7, 3), nn.Linear(3, 3)), TOKENS),
    "embedding-bag-sum": Animal(lambda: embedded(nn.EmbeddingBag(7, 3, mode="sum"), nn.Linear(3, 3)), TOKENS),
    "one-hot": Animal(
        lambda: Net(
            lambda net, x: net.net(F.one_hot(x.long(), 7).to(net.net.weight.dtype).mean(1)), net=nn.Linear(7, 3)
        ),
        TOKENS,
    ),
    "attention": Animal(lambda: Attention(nn.MultiheadAttention(2, 2, batch_first=True)), TOKENS),
    "attention-fused": Animal(
        lambda: Attention(nn.MultiheadAttention(2, 2, batch_first=True), need_weights=False), TOKENS
    ),
    "attention-eval": Animal(
        lambda: Attention(nn.MultiheadAttention(2, 2, batch_first=True), need_weights=False).eval(), TOKENS
    ),
    "dot-product-attention": Animal(Attention, TOKENS),
    "dot-product-attention-causal": Animal(lambda: Attention(is_causal=True), TOKENS),
    "transformer": Animal(lambda: Attention(transformer(activation="gelu"), 3), TOKENS),
    "transformer-eval": Animal(lambda: Attention(transformer(activation="gelu"), 3).eval(), TOKENS),
    "transformer-dropout-eval": Animal(
        lambda: Attention(nn.TransformerEncoderLayer(3, 3, 4, activation="gelu", batch_first=True), 3).eval(), TOKENS
    ),
    "transformer-norm-first": Animal(lambda: Attention(transformer(activation="gelu", norm_first=True), 3), TOKENS),
    "transformer-relu-eval": Animal(lambda: Attention(transformer(), 3).eval(), TOKENS, kinks=True),
    "gru": Animal(lambda: Recurrent(nn.GRU(1, 2, batch_first=True)), TOKENS),
    "gru-two-layers": Animal(lambda: Recurrent(nn.GRU(1, 2, num_layers=2, batch_first=True)), TOKENS),
    "gru-both-ways": Animal(lambda: Recurrent(nn.GRU(1, 2, batch_first=True, bidirectional=True), 4), TOKENS),
    "lstm": Animal(lambda: Recurrent(nn.LSTM(1, 2, batch_first=True)), TOKENS),
    "rnn": Animal(lambda: Recurrent(nn.RNN(1, 2, batch_first=True)), TOKENS),
    "rnn-relu": Animal(lambda: Recurrent(nn.RNN(1, 2, nonlinearity="relu", batch_first=True)), TOKENS, kinks=True),
    "lstm-cell": Animal(lambda: Recurrent(nn.LSTMCell(1, 2)), TOKENS),
    "gru-cell": Animal(lambda: Recurrent(nn.GRUCell(1, 2)), TOKENS),
}

ROUNDED = None if device() == "cpu" else "not the derivative of its loss"
"""On a CUDA device torch's weight norm rounds its norms to float32, whatever the dtype."""

PROGRAMS = {
    "checkpoint": Animal(
        lambda: Net(
            lambda net, x: net.b(torch.utils.checkpoint.checkpoint(net.a, x, use_reentrant=False)),
            a=nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh()),
            b=nn.Linear(4, 3),
        )
    ),
    "custom-function": Animal(lambda: between(lambda h: Cube.apply(torch.tanh(h)))),
    "control-flow-by-sample": Animal(ByRows),
    "loop-over-samples": Animal(
        lambda: Net(lambda net, x: torch.cat([net.net(row[None]) for row in x]), net=mlp(nn.Tanh()))
    ),
    "numpy-features": Animal(
        lambda: Net(lambda net, x: net.net(torch.from_numpy(np.sin(x.cpu().numpy())).to(x)), net=mlp(nn.Tanh()))
    ),
    "mask-without-gradient": Animal(
        lambda: Net(
            lambda net, x: torch.tanh(net.a(x)) @ net.w * without_gradient(x),
            a=nn.Linear(4, 5),
            w=nn.Parameter(torch.randn(5, 3)),
        )
    ),
    "energy": Animal(Energy),
    "weight-norm": Animal(lambda: with_first(mlp(nn.Tanh()), parametrizations.weight_norm), refused=ROUNDED),
    "weight-norm-old": Animal(lambda: with_first(mlp(nn.Tanh()), nn.utils.weight_norm), refused=ROUNDED),
    "weight-norm-convolution": Animal(
        lambda: with_first(cnn(nn.Conv2d(1, 2, 3, padding=1)), parametrizations.weight_norm), IMAGES, ROUNDED
    ),
    "orthogonal": Animal(
        lambda: with_first(nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)), parametrizations.orthogonal)
    ),
    "orthogonal-tall": Animal(lambda: with_first(mlp(nn.Tanh()), parametrizations.orthogonal)),
    "symmetric": Animal(
        lambda: with_first(
            nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)),
            lambda layer: parametrize.register_parametrization(layer, "weight", Symmetric()),
        )
    ),
    "spectral-norm-eval": Animal(lambda: with_first(mlp(nn.Tanh()), parametrizations.spectral_norm).eval()),
    "spectral-norm-old-eval": Animal(lambda: trained_once(with_first(mlp(nn.Tanh()), nn.utils.spectral_norm))),
    "pruned": Animal(lambda: with_first(mlp(nn.Tanh()), lambda layer: prune.l1_unstructured(layer, "weight", 0.5))),
    "forward-hook": Animal(
        lambda: with_first(
            mlp(nn.Tanh()), lambda layer: layer.register_forward_hook(lambda layer, inputs, output: 2 * output)
        )
    ),
    "forward-pre-hook": Animal(
        lambda: with_first(
            mlp(nn.Tanh()), lambda layer: layer.register_forward_pre_hook(lambda layer, inputs: (inputs[0] / 2,))
        )
    ),
    "hook-reads-itself": Animal(HookOnSelf),
    "compiled": Animal(lambda: torch.compile(mlp(nn.Tanh()))),
    "compiled-part": Animal(
        lambda: nn.Sequential(torch.compile(nn.Sequential(nn.Linear(4, 5), nn.Tanh())), nn.Linear(5, 3))
    ),
    "data-parallel": Animal(lambda: nn.DataParallel(mlp(nn.Tanh()))),
}


@dataclass(frozen=True)
class Scaled:
    """A data source with a field that has no hash."""

    scale: Any

    def load(self, seed: int) -> sr.Splits:
        splits, scale = VECTORS.load(seed), torch.as_tensor(self.scale)
        sets = {name: getattr(splits, name) for name in ("train", "queries", "tuning", "validation")}
        return replace(splits, **{name: sr.Examples(found.x * scale, found.y) for name, found in sets.items()})


@dataclass(frozen=True)
class Changed:
    """Sets that something was done to."""

    change: Callable[[sr.Splits], Any]

    def load(self, seed: int) -> Any:
        return self.change(VECTORS.load(seed))


def with_train(x: Callable[[Tensor], Tensor] = torch.clone, y: Callable[[Tensor], Tensor] = torch.clone) -> Changed:
    """Training points that something was done to."""
    return Changed(lambda splits: replace(splits, train=sr.Examples(x(splits.train.x), y(splits.train.y))))


def noisy_single_class(splits: sr.Splits) -> sr.Splits:
    y, noisy = sr.LabelNoise(0.1).apply(torch.zeros_like(splits.train.y), 1, seed=0)
    return replace(splits, train=sr.Examples(splits.train.x, y), noisy=noisy, n_classes=1)


DATA = {
    **{
        f"labels-{str(dtype).removeprefix('torch.')}": Animal(
            lambda: mlp(nn.Tanh()), replace(VECTORS, labels=dtype, n_classes=2 if dtype is torch.bool else 3)
        )
        for dtype in (torch.uint8, torch.bool, torch.int8, torch.int32)
    },
    "float32-inputs": Animal(lambda: mlp(nn.Tanh()), replace(VECTORS, dtype=torch.float32)),
    "load-draws": Animal(lambda: mlp(nn.Tanh()), with_train(x=lambda x: x + torch.rand_like(x))),
    "array-field": Animal(lambda: mlp(nn.Tanh()), Scaled(np.array([1.0, 2.0, 0.5, 1.0]))),
    "list-field": Animal(lambda: mlp(nn.Tanh()), Scaled([1.0, 2.0, 0.5, 1.0])),
}


Made = Callable[[Tensor], Tensor]


def of(n_outputs: int, targets: Made, inputs: Made = torch.clone) -> Changed:
    """Points whose targets are made of their inputs."""

    def change(splits: sr.Splits) -> sr.Splits:
        sets = {name: getattr(splits, name).x for name in ("train", "queries", "tuning", "validation")}
        made = {name: sr.Examples(inputs(x), targets(x)) for name, x in sets.items()}
        return replace(splits, **made, n_classes=n_outputs, clean=None)

    return Changed(change)


def tokens(x: Tensor) -> Tensor:
    """Numbers as tokens 0..4."""
    return (2 * x).round().clamp(-2, 2).long() + 2


class CharTransformer(nn.Module):
    """Embedded tokens and positions, a causal layer of attention, and logits of the next token at each position."""

    def __init__(self, activation: str = "gelu") -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(5, 4), nn.Parameter(0.1 * torch.randn(3, 4))
        self.layer = nn.TransformerEncoderLayer(4, 2, 5, dropout=0.0, activation=activation, batch_first=True)
        self.head = nn.Linear(4, 5)
        self.register_buffer("mask", torch.full((3, 3), -torch.inf).triu(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.token(x) + self.position, src_mask=self.mask))


@dataclass(frozen=True)
class Huber(sr.Loss):
    """A loss of a user's own: its value alone."""

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return ((outputs - targets).square() + 1).sqrt().sum(-1)


LABELS = of(3, lambda x: (x[:, :3] > 0).double())
LOSSES = {
    "smoothed": Animal(lambda: mlp(nn.Tanh()), loss=sr.CrossEntropy(label_smoothing=0.1)),
    "class-weights": Animal(lambda: mlp(nn.Tanh()), loss=sr.CrossEntropy(class_weights=(1.0, 2.0, 0.5))),
    "regression": Animal(
        lambda: nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 1)),
        of(1, lambda x: x.sum(1).sin()),
        loss=sr.SquaredError(),
    ),
    "regression-two": Animal(
        lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)),
        of(2, lambda x: x[:, :2].sin()),
        loss=sr.SquaredError(),
    ),
    "multi-label": Animal(lambda: mlp(nn.Tanh()), LABELS, loss=sr.BinaryCrossEntropy()),
    "own-loss": Animal(lambda: mlp(nn.Tanh()), of(3, lambda x: x[:, :3].sin()), loss=Huber()),
    "next-token": Animal(
        CharTransformer, of(5, lambda x: tokens(x)[:, 1:], lambda x: tokens(x)[:, :-1]), loss=sr.NextToken()
    ),
}

RIGHT = CHAINS | PARAMETERS | FROZEN | IMAGE_NETWORKS | NORMS | INPLACE | SEQUENCES | PROGRAMS | DATA | LOSSES


class Counting(nn.Module):
    """A network that remembers something from call to call."""

    def __init__(self, step: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.step, self.calls, self.last = mlp(nn.Tanh()), step, 0, None
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.step(self, self.net(x))


def counted(net: Any, h: Tensor) -> Tensor:
    net.calls += 1
    return h / net.calls


def averaged(net: Any, h: Tensor) -> Tensor:
    net.mean.mul_(0.9).add_(0.1 * h.detach().mean(0))
    return h - net.mean


def kept(net: Any, h: Tensor) -> Tensor:
    net.last = h
    return h


def clipped(net: Any, h: Tensor) -> Tensor:
    net.net[0].weight.data.clamp_(-0.3, 0.3)
    return h


def in_turn() -> nn.Module:
    calls = itertools.count(1)
    return after(lambda h: h / next(calls))


def hooked(h: Tensor) -> Tensor:
    if h.requires_grad:
        h.register_hook(lambda grad: 2 * grad)
    return h


def rounded(h: Tensor) -> Tensor:
    return h + (h.round() - h).detach()


def skipping(h: Tensor) -> Tensor:
    with torch.no_grad():
        gate = torch.sigmoid(h)
    return h * gate


def with_hook(module: nn.Module, name: str) -> nn.Module:
    module.get_parameter(name).register_hook(lambda grad: 2 * grad)
    return module


def with_backward_hook(module: nn.Module) -> nn.Module:
    module[0].register_full_backward_hook(
        lambda layer, inputs, outputs: (None if inputs[0] is None else 2 * inputs[0],)
    )
    module[2].register_full_backward_hook(lambda layer, inputs, outputs: (2 * inputs[0],))
    return module


def drawn_by_the_system() -> nn.Module:
    module = mlp(nn.Tanh())
    module[0].weight.data += os.urandom(1)[0] / 1000 + os.urandom(1)[0] / 256000
    return module


def drawn_without_seed() -> nn.Module:
    module = mlp(nn.Tanh())
    module[0].weight.data = torch.tensor(np.random.default_rng().normal(size=(5, 4)))
    return module


def fails(*_: Any) -> Any:
    raise ValueError("this network\nhas two lines to say")


RANDOM = "random|differ|draw"
MIXES = "mixes|batch"
STATE = "state|chang|differ|keep|writes|random"
GRADIENT = "gradient|derivative|detach|differentia|backward"
OUTPUT = "output|logits"

REFUSED = {
    # random
    "dropout": Animal(lambda: mlp(nn.Dropout(0.5)), refused="dropout"),
    "dropout-deep": Animal(
        lambda: nn.Sequential(nn.Sequential(nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.Dropout(0.1))))),
        refused="dropout",
    ),
    "dropout-images": Animal(lambda: cnn(nn.Conv2d(1, 2, 3, padding=1), nn.Dropout2d(0.5)), IMAGES, "dropout"),
    "dropout-alpha": Animal(lambda: mlp(nn.AlphaDropout(0.5)), refused="dropout"),
    "dropout-in-forward": Animal(lambda: between(lambda h: F.dropout(h, 0.5)), refused=RANDOM),
    "dropout-of-attention": Animal(lambda: Attention(dropout_p=0.2), TOKENS, RANDOM),
    "dropout-of-attention-layer": Animal(
        lambda: Attention(nn.MultiheadAttention(2, 2, 0.2, batch_first=True)), TOKENS, RANDOM
    ),
    "dropout-of-recurrence": Animal(
        lambda: Recurrent(nn.GRU(1, 2, num_layers=2, dropout=0.5, batch_first=True)), TOKENS, f"{RANDOM}|dropout"
    ),
    "dropout-of-transformer": Animal(
        lambda: Attention(nn.TransformerEncoderLayer(3, 3, 4, batch_first=True), 3), TOKENS, f"{RANDOM}|dropout"
    ),
    "random-slope": Animal(lambda: mlp(nn.RReLU()), refused=RANDOM),
    "noise-torch": Animal(lambda: between(lambda h: h + 0.1 * torch.randn_like(h)), refused=RANDOM),
    "noise-numpy": Animal(lambda: between(lambda h: h + np.random.rand()), refused=RANDOM),  # noqa: NPY002
    "noise-python": Animal(lambda: between(lambda h: h + random.random()), refused=RANDOM),
    "noise-of-its-own": Animal(
        lambda: Net(lambda net, x: net.net(x + net.rng.random()), net=mlp(nn.Tanh()), rng=np.random.default_rng(0)),
        refused=STATE,
    ),
    "noise-never-seeded": Animal(lambda: between(lambda h: h + np.random.default_rng().random()), refused=RANDOM),
    "noise-rare": Animal(lambda: between(lambda h: h + (torch.rand(()) > 0.999)), refused=RANDOM),
    "noise-rare-python": Animal(lambda: between(lambda h: h + (random.random() > 0.999)), refused=RANDOM),
    "gumbel": Animal(lambda: after(lambda h: F.gumbel_softmax(h)), refused=RANDOM),
    "clock": Animal(lambda: after(lambda h: h * (1 + time.perf_counter())), refused=RANDOM),
    # samples that see each other
    "batch-norm": Animal(lambda: mlp(nn.BatchNorm1d(5)), refused="batch norm"),
    "batch-norm-images": Animal(lambda: cnn(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2)), IMAGES, "batch norm"),
    "batch-norm-without-statistics": Animal(
        lambda: mlp(nn.BatchNorm1d(5, track_running_stats=False)).eval(), refused=MIXES
    ),
    "batch-norm-in-forward": Animal(
        lambda: between(lambda h: F.batch_norm(h, None, None, training=True)), refused=MIXES
    ),
    "minus-the-mean": Animal(lambda: between(lambda h: h - h.mean(0)), refused=MIXES),
    "softmax-over-the-batch": Animal(lambda: between(lambda h: h.softmax(0)), refused=MIXES),
    "flow-by-the-batch": Animal(
        lambda: Net(lambda net, x: net.net(x if x.sum().item() > 0 else -x), net=mlp(nn.Tanh())), refused=MIXES
    ),
    "flow-by-the-batch-size": Animal(
        lambda: between(lambda h: torch.tanh(h) if len(h) > 7 else torch.sin(h)), refused=MIXES
    ),
    "divided-by-the-batch-size": Animal(lambda: between(lambda h: h / len(h)), refused=MIXES),
    "position-in-the-batch": Animal(
        lambda: between(lambda h: h + torch.arange(len(h), device=h.device)[:, None]), refused=MIXES
    ),
    "attention-over-the-batch": Animal(lambda: Attention(nn.MultiheadAttention(2, 2)), TOKENS, MIXES),
    # memory from call to call
    "counter": Animal(lambda: Counting(counted), refused=STATE),
    "counter-of-a-closure": Animal(in_turn, refused=STATE),
    "running-mean": Animal(lambda: Counting(averaged), refused=f"{STATE}|{MIXES}"),
    "relu-of-the-input": Animal(
        lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 3)), refused="writes into its inputs"
    ),
    "scaled-input": Animal(
        lambda: Net(lambda net, x: net.out(x.mul_(2)), out=nn.Linear(4, 3)), refused="writes into its inputs"
    ),
    "input-scaled-by-data": Animal(
        lambda: Net(lambda net, x: net.out(x.data.mul_(2)), out=nn.Linear(4, 3)), refused="writes into its inputs"
    ),
    "last-output-kept": Animal(lambda: Counting(kept), refused=STATE),
    "clipped-parameters": Animal(lambda: Counting(clipped), refused=STATE),
    "spectral-norm": Animal(lambda: with_first(mlp(nn.Tanh()), parametrizations.spectral_norm), refused=STATE),
    "spectral-norm-old": Animal(lambda: with_first(mlp(nn.Tanh()), nn.utils.spectral_norm), refused=STATE),
    "instance-norm-running": Animal(
        lambda: cnn(nn.Conv2d(1, 2, 3, padding=1), nn.InstanceNorm2d(2, track_running_stats=True)),
        IMAGES,
        f"{STATE}|norm",
    ),
    "embedding-max-norm": Animal(
        lambda: embedded(nn.Embedding(7, 2, max_norm=0.5), nn.Linear(10, 3)), TOKENS, f"{STATE}|max_norm"
    ),
    # gradients that are no derivatives
    "embedding-padding": Animal(
        lambda: embedded(nn.Embedding(7, 2, padding_idx=0), nn.Linear(10, 3)), TOKENS, "padding_idx"
    ),
    "embedding-by-frequency": Animal(
        lambda: embedded(nn.Embedding(7, 2, scale_grad_by_freq=True), nn.Linear(10, 3)),
        TOKENS,
        f"freq|{GRADIENT}|{MIXES}",
    ),
    "embedding-by-frequency-in-forward": Animal(
        lambda: Net(
            lambda net, x: net.head(F.embedding(x.long(), net.w, scale_grad_by_freq=True).flatten(1)),
            w=nn.Parameter(torch.randn(7, 2)),
            head=nn.Linear(10, 3),
        ),
        TOKENS,
        f"freq|{GRADIENT}|{MIXES}",
    ),
    "detached": Animal(lambda: between(lambda h: h * torch.sigmoid(h).detach()), refused=GRADIENT),
    "detached-altogether": Animal(lambda: after(Tensor.detach), refused=f"{GRADIENT}|depend"),
    "without-gradient": Animal(lambda: between(skipping), refused=GRADIENT),
    "straight-through": Animal(lambda: between(rounded), refused=GRADIENT),
    "gradient-reversal": Animal(lambda: between(Reversal.apply), refused=GRADIENT),
    "wrong-backward": Animal(lambda: between(WrongCube.apply), refused=GRADIENT),
    "once-differentiable": Animal(lambda: between(CubeOnce.apply), refused=GRADIENT),
    "captured-by-value": Animal(ByValue, refused=f"captur|parameter|{GRADIENT}"),
    "parameter-hook": Animal(lambda: with_hook(mlp(nn.Tanh()), "0.weight"), refused="hook|gradient"),
    "backward-hook": Animal(lambda: with_backward_hook(mlp(nn.Tanh())), refused="hook|gradient"),
    "hook-in-forward": Animal(lambda: between(hooked), refused="hook|gradient"),
    "scripted": Animal(lambda: torch.jit.script(mlp(nn.Tanh())), refused="script|jit"),
    "traced": Animal(lambda: torch.jit.trace(mlp(nn.Tanh()), torch.zeros(2, 4)), refused="script|trace|jit"),
    # outputs
    "one-output": Animal(lambda: nn.Linear(4, 1), refused=OUTPUT),
    "fewer-outputs": Animal(lambda: nn.Linear(4, 2), refused=OUTPUT),
    "outputs-by-position": Animal(
        lambda: Net(lambda net, x: net.head(net.emb(x.long())), emb=nn.Embedding(7, 2), head=nn.Linear(2, 3)),
        TOKENS,
        OUTPUT,
    ),
    "output-without-batch": Animal(lambda: after(lambda h: h.sum(0)), refused=f"{OUTPUT}|{MIXES}"),
    "output-dict": Animal(lambda: after(lambda h: {"logits": h}), refused=OUTPUT),
    "output-tuple": Animal(lambda: after(lambda h: (h, h)), refused=OUTPUT),
    "output-none": Animal(lambda: after(lambda h: None), refused=OUTPUT),
    "output-whole-numbers": Animal(
        lambda: after(lambda h: h.argmax(-1, keepdim=True).expand(-1, 3)), refused=f"{OUTPUT}|{GRADIENT}"
    ),
    "output-nan": Animal(lambda: after(lambda h: h / 0 * 0), refused="NaN|finite"),
    "no-parameters": Animal(lambda: nn.Flatten(), refused="parameter"),
    "all-frozen": Animal(lambda: frozen(nn.Linear(4, 3), "weight", "bias"), refused="parameter|frozen"),
    # recipes
    "model-instance": Animal(lambda: None, model=nn.Linear(4, 3), refused="build"),
    "model-class": Animal(lambda: None, model=Network, refused="build|class"),
    "model-module-class": Animal(lambda: None, model=nn.Linear, refused="build|class"),
    "model-name": Animal(lambda: None, model="resnet18", refused="build"),
    "build-none": Animal(lambda: None, refused="Module|module"),
    "build-function": Animal(lambda: torch.tanh, refused="Module|module"),
    "build-fails": Animal(fails, refused="this network"),
    "forward-fails": Animal(lambda: between(fails), refused="this network"),
    "forward-of-other-shapes": Animal(lambda: nn.Linear(7, 3), refused="shape"),
    "forward-of-two-arguments": Animal(lambda: nn.Bilinear(4, 4, 3), refused="argument"),
    "layer-in-a-list-only": Animal(
        lambda: Net(lambda net, x: net.out(net.hidden[0](x)), hidden=[nn.Linear(4, 4)], out=nn.Linear(4, 3)),
        refused="dtype|Float|same device",
    ),
    "drawn-by-the-system": Animal(drawn_by_the_system, refused=f"build|{RANDOM}"),
    "drawn-without-seed": Animal(drawn_without_seed, refused=f"build|{RANDOM}"),
    # data
    "load-never-seeded": Animal(
        lambda: mlp(nn.Tanh()), with_train(x=lambda x: x + np.random.default_rng().random()), f"load|{RANDOM}"
    ),
    "load-tuple": Animal(lambda: mlp(nn.Tanh()), Changed(lambda splits: (splits.train, splits.queries)), "Splits"),
    "load-none": Animal(lambda: mlp(nn.Tanh()), Changed(lambda splits: None), "Splits"),
    "load-fails": Animal(lambda: mlp(nn.Tanh()), Changed(fails), "this network"),
    "labels-soft": Animal(lambda: mlp(nn.Tanh()), with_train(y=lambda y: F.one_hot(y).double()), "labels"),
    "labels-float": Animal(lambda: mlp(nn.Tanh()), with_train(y=Tensor.double), "labels"),
    "labels-multiple": Animal(lambda: mlp(nn.Tanh()), with_train(y=F.one_hot), "labels"),
    "labels-outside": Animal(lambda: mlp(nn.Tanh()), with_train(y=lambda y: y + 1), "label"),
    "labels-negative": Animal(lambda: mlp(nn.Tanh()), with_train(y=lambda y: y - 1), "label"),
    "inputs-nan": Animal(lambda: mlp(nn.Tanh()), with_train(x=lambda x: x / (x > -2)), "NaN"),
    "inputs-complex": Animal(lambda: mlp(nn.Tanh()), with_train(x=lambda x: x + 0j), "complex|real"),
    "inputs-missing": Animal(lambda: mlp(nn.Tanh()), with_train(x=lambda x: x[:30]), "shape|labels"),
    "labels-of-regression": Animal(lambda: mlp(nn.Tanh()), LABELS, "labels are float64"),
    "classes-of-squared-error": Animal(lambda: mlp(nn.Tanh()), refused="floats", loss=sr.SquaredError()),
    "classes-of-labels": Animal(lambda: mlp(nn.Tanh()), refused="floats", loss=sr.BinaryCrossEntropy()),
    "classes-of-tokens": Animal(lambda: mlp(nn.Tanh()), refused="tokens", loss=sr.NextToken()),
    "outputs-of-regression": Animal(
        lambda: nn.Linear(4, 2), of(1, lambda x: x.sum(1)), "shape|outputs", loss=sr.SquaredError()
    ),
    "weights-of-other-classes": Animal(
        lambda: mlp(nn.Tanh()), refused="class_weights", loss=sr.CrossEntropy(class_weights=(1.0, 2.0))
    ),
    "one-class": Animal(lambda: nn.Linear(4, 1), Changed(noisy_single_class), "class"),
}

ZOO: dict[str, Animal] = RIGHT | REFUSED
