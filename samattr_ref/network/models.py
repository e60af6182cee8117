"""The networks of the named workloads, as frozen recipes: `build(input_shape, n_classes)` gives a fresh `nn.Module`.

Activations are smooth by default: same-run leave-one-out is a derivative question, and a kink answers it badly.
"""

import copy
import itertools
import math
from dataclasses import dataclass, fields
from typing import Protocol

import torch
from torch import Tensor, nn

from samattr_ref.support.errors import SamattrError, unknown_name
from samattr_ref.support.options import checked

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "relu": nn.ReLU,
}


def activation(name: str) -> nn.Module:
    """The activation layer of that name.

    Raises:
        SamattrError: if there is none.
    """
    if name not in ACTIVATIONS:
        raise unknown_name("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]()


INITIALISATIONS = ("torch", "he")


class ModelRecipe(Protocol):
    """What a workload needs of a model: any frozen dataclass with this method will do.

    It may have a `note`, a text that says in what it differs from the network that its name is known for.
    """

    def build(self, input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
        """A module from inputs [b, *input_shape] to logits [b, n_classes], drawn from torch's global generator."""


@checked
@dataclass(frozen=True)
class LogisticRegression:
    """Multinomial logistic regression."""

    def build(self, input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
        """One linear layer on the flattened input."""
        return nn.Sequential(nn.Flatten(), nn.Linear(_size(input_shape), n_classes))


@checked
@dataclass(frozen=True)
class MLP:
    """A multilayer perceptron.

    Attributes:
        hidden: Widths of the hidden layers.
        activation: A name of `ACTIVATIONS`.
    """

    hidden: tuple[int, ...] = (32,)
    activation: str = "tanh"

    def __post_init__(self) -> None:
        _check_widths("hidden", self.hidden)

    def build(self, input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
        """Linear layers with the activation between them."""
        widths = (_size(input_shape), *self.hidden)
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), activation(self.activation)]
        return nn.Sequential(*layers, nn.Linear(widths[-1], n_classes))


@checked
@dataclass(frozen=True)
class CNN:
    """A small convolutional network: 3x3 convolutions with 2x2 average pooling after each, then a linear layer.

    Attributes:
        channels: Channels of the convolutions.
        activation: A name of `ACTIVATIONS`.
        norm: Whether each convolution is followed by a group norm of at most eight groups.
        initialisation: `"torch"`: weights as torch draws them, of variance 1/(3 fan-in), with which signals fade from
            layer to layer and training starts on a plateau. `"he"`: normal, of variance 2/fan-in before an activation
            and 1/fan-in before the logits, biases 0 (He et al., Delving Deep into Rectifiers, 2015).
    """

    channels: tuple[int, ...] = (8, 16)
    activation: str = "gelu"
    norm: bool = False
    initialisation: str = "torch"

    def __post_init__(self) -> None:
        _check_widths("channels", self.channels)
        if self.initialisation not in INITIALISATIONS:
            raise unknown_name("initialisation", self.initialisation, INITIALISATIONS)

    def __repr__(self) -> str:
        """Without what is as it always was: kept ground truth is found by how a network is written."""
        oldest = ("channels", "activation")
        shown = [f for f in fields(self) if f.name in oldest or getattr(self, f.name) != f.default]
        return f"{type(self).__name__}({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in shown)})"

    def build(self, input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
        """The network for images [b, c, h, w] with h and w divisible by 2 as often as there are convolutions."""
        before, height, width = _image_shape(input_shape, least=2 ** len(self.channels))
        layers: list[nn.Module] = []
        for after in self.channels:
            normed = [nn.GroupNorm(_groups(after), after)] if self.norm else []
            layers += [nn.Conv2d(before, after, 3, padding=1), *normed, activation(self.activation), nn.AvgPool2d(2)]
            before, height, width = after, height // 2, width // 2
        module = nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * height * width, n_classes))
        if self.initialisation == "he":
            _draw_he(module)
        return module


@checked
@dataclass(frozen=True)
class ResNet9:
    """The residual network with nine layers of DAWNBench (Page, How to Train Your ResNet, 2018), made smooth.

    This differs from the original in:

    1. GroupNorm stands for batch norm, which mixes samples.
    2. Mean pooling stands for max pooling and GELU for ReLU, which have kinks.
    3. The logits are scaled by `logit_scale`, 1 by default, in place of 1/8.

    Attributes:
        width: Channels after the first convolution; later ones have twice, four and eight times as many.
        logit_scale: What the logits are multiplied with, > 0: small ones keep the loss flat, so that a run is longer
            followed by its derivative (Ilyas & Engstrom 2025 take 0.04 with large steps).
        early_pooling: Whether images are halved after the first convolution already: a third of the work.
    """

    width: int = 64
    logit_scale: float = 1.0
    early_pooling: bool = False

    def __post_init__(self) -> None:
        _check_widths("width", (self.width,))
        if not 0 < self.logit_scale < math.inf:
            raise SamattrError(f"logit_scale must be > 0 and finite, not {self.logit_scale}")

    @property
    def note(self) -> str:
        """What was changed."""
        pooled = ", halved after the first convolution" if self.early_pooling else ""
        return f"DAWNBench's ResNet-9 with GroupNorm for batch norm, mean for max pooling and GELU for ReLU{pooled}"

    def build(self, input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
        """The network for images [b, c, h, w] of at least 8x8 pixels, 16x16 with early pooling."""
        channels, _, _ = _image_shape(input_shape, least=16 if self.early_pooling else 8)
        one, two, four, eight = (self.width * factor for factor in (1, 2, 4, 8))
        scale = [] if self.logit_scale == 1 else [Scale(self.logit_scale)]
        early = [nn.AvgPool2d(2)] if self.early_pooling else []
        return nn.Sequential(
            _convolution(channels, one),
            *early,
            _convolution(one, two),
            nn.AvgPool2d(2),
            Residual(two),
            _convolution(two, four),
            nn.AvgPool2d(2),
            _convolution(four, eight),
            nn.AvgPool2d(2),
            Residual(eight),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(eight, n_classes),
            *scale,
        )


class Scale(nn.Module):
    """A fixed multiple of x."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Values of the shape of x."""
        return self.factor * x


class Residual(nn.Module):
    """x plus two convolutions of x."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(_convolution(channels, channels), _convolution(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Images of the shape of x."""
        branch: Tensor = self.branch(x)
        return x + branch


@checked
@dataclass(frozen=True)
class ResNet18:
    """torchvision's ResNet-18 (He et al. 2016), untrained, with its batch norm converted to GroupNorm.

    For images of up to 64 pixels the stem is a 3x3 convolution with stride 1 and no max pooling, as is usual for CIFAR;
    larger ones keep the 7x7 convolution with stride 2 and the pooling. Its ReLU and max pooling have kinks: same-run
    leave-one-out follows derivatives less closely than with `ResNet9`.
    """

    @property
    def note(self) -> str:
        """What was changed."""
        return (
            "torchvision's ResNet-18 with its 20 batch-norm layers converted to GroupNorm and, for images of up to 64 "
            "pixels, a 3x3 stem with stride 1 and no max pooling"
        )

    def build(self, input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
        """The network for images [b, c, h, w]."""
        from torchvision.models import resnet18

        channels, height, width = _image_shape(input_shape)
        module = group_norm(resnet18(weights=None, num_classes=n_classes))
        if max(height, width) <= 64:
            module.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
            module.maxpool = nn.Identity()
        else:
            module.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(module.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision does
        for layer in module.modules():
            if isinstance(layer, nn.ReLU):
                layer.inplace = False  # torch.func's transforms want their inputs left alone
        return module


def group_norm(module: nn.Module) -> nn.Module:
    """A copy of a module with every batch norm converted to a group norm, which looks at one sample alone.

    Channels, ε and the affine parameters stay. Each layer has at most 8 groups, of at least two channels, so that
    something is left where a channel is a single number; running statistics are dropped.

    >>> group_norm(nn.Sequential(nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12)))[1].num_groups
    2
    """
    holder = nn.ModuleList([copy.deepcopy(module)])  # so that a module that is itself a batch norm has a place
    converted: dict[nn.Module, nn.Module] = {}
    for name, layer in list(holder.named_modules(remove_duplicate=False)):
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            converted.setdefault(layer, _group_norm(layer))
            holder.set_submodule(name, converted[layer])
    return holder[0]


def _group_norm(layer: nn.modules.batchnorm._BatchNorm) -> nn.GroupNorm:
    channels = layer.num_features
    new = nn.GroupNorm(_groups(channels), channels, layer.eps, layer.affine)
    if layer.affine:
        new.to(layer.weight.device, layer.weight.dtype)
        with torch.no_grad():
            new.weight.copy_(layer.weight)
            new.bias.copy_(layer.bias)
    return new


def _groups(channels: int) -> int:
    """Of 8 groups as many as divide the channels evenly, with two channels or more in each."""
    return math.gcd(8, channels, channels // 2)


def _convolution(before: int, after: int) -> nn.Module:
    """A 3x3 convolution that keeps height and width, normalised and activated."""
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.GroupNorm(_groups(after), after), nn.GELU()
    )


def _draw_he(module: nn.Sequential) -> None:
    for layer in module:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu" if isinstance(layer, nn.Conv2d) else "linear")
            assert layer.bias is not None  # as it was built
            nn.init.zeros_(layer.bias)


def _check_widths(name: str, widths: tuple[int, ...]) -> None:
    if any(width < 1 for width in widths):
        raise SamattrError(f"{name} must be at least 1, not {', '.join(map(str, widths))}")


def _image_shape(shape: tuple[int, ...], least: int = 1) -> tuple[int, int, int]:
    if len(shape) != 3 or min(shape[1:]) < least:
        raise SamattrError(f"this network is for images [c, h, w] of at least {least}x{least}, not {list(shape)}")
    return shape[0], shape[1], shape[2]


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
