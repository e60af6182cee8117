"""Small networks with every kind of layer, and with layers that are used in another way than their types say."""

import torch
from torch import Tensor, nn


class Tokens(nn.Module):
    """Embedded tokens with linear layers and a norm at every position, then their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 5)
        self.norm = nn.LayerNorm(5)
        self.wide = nn.Linear(5, 40, bias=False)
        self.out = nn.Linear(40, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.wide(self.norm(self.embedding(x)))).mean(1))


class Tied(nn.Module):
    """A layer that is called twice, one whose weight another uses, and a scale that belongs to no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Linear(4, 4)
        self.lent = nn.Linear(4, 4)
        self.unused = nn.Linear(2, 2)
        self.scale = nn.Parameter(torch.rand(4))
        self.out = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.twice(torch.tanh(self.twice(x)) * self.scale))
        return self.out(torch.tanh(self.lent(x)) @ self.lent.weight)


class Squares(nn.Module):
    """A network none of whose layers is known."""

    def __init__(self) -> None:
        super().__init__()
        self.bilinear = nn.Bilinear(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.bilinear(x, x)


def convolutions(channels=3, **settings):
    """Few pixels with many channels after many with few: both orders of contraction are the cheaper one somewhere."""
    return nn.Sequential(
        nn.Conv2d(channels, 2, 3, padding=1, **settings),
        nn.GroupNorm(1, 2),
        nn.GELU(),
        nn.AvgPool2d(4),
        nn.Conv2d(2, 60, 2, bias=False),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(60, 3),
    )
