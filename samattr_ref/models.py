"""The networks of the named workloads, as frozen recipes: `build(input_shape, n_classes)` gives a fresh `nn.Module`.

Activations are smooth by default: same-run leave-one-out is a derivative question, and a kink answers it badly.
"""

import itertools
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from samattr_ref.errors import unknown_name

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


class ModelRecipe(Protocol):
    """What a workload needs of a model: any frozen dataclass with this method will do."""

    def build(self, input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
        """A module from inputs [b, *input_shape] to logits [b, n_classes], drawn from torch's global generator."""


@dataclass(frozen=True)
class LogisticRegression:
    """Multinomial logistic regression."""

    def build(self, input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
        """One linear layer on the flattened input."""
        return nn.Sequential(nn.Flatten(), nn.Linear(_size(input_shape), n_classes))


@dataclass(frozen=True)
class MLP:
    """A multilayer perceptron.

    Attributes:
        hidden: Widths of the hidden layers.
        activation: A name of `ACTIVATIONS`.
    """

    hidden: tuple[int, ...] = (32,)
    activation: str = "tanh"

    def build(self, input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
        """Linear layers with the activation between them."""
        widths = (_size(input_shape), *self.hidden)
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), activation(self.activation)]
        return nn.Sequential(*layers, nn.Linear(widths[-1], n_classes))


@dataclass(frozen=True)
class CNN:
    """A small convolutional network: 3x3 convolutions with 2x2 average pooling after each, then a linear layer.

    Attributes:
        channels: Channels of the convolutions.
        activation: A name of `ACTIVATIONS`.
    """

    channels: tuple[int, ...] = (8, 16)
    activation: str = "gelu"

    def build(self, input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
        """The network for images [b, c, h, w] with h and w divisible by 2 as often as there are convolutions."""
        before, height, width = input_shape
        layers: list[nn.Module] = []
        for after in self.channels:
            layers += [nn.Conv2d(before, after, 3, padding=1), activation(self.activation), nn.AvgPool2d(2)]
            before, height, width = after, height // 2, width // 2
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * height * width, n_classes))


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
