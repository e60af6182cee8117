"""Gradients of many networks together, against each network by itself."""

import pytest
import torch
from torch import nn

import samattr_ref as sr
from samattr_ref.objective import Objective
from samattr_ref.stacked import StackedNetworks
from tests.samattr_ref.networks import Squares, Tied, Tokens, convolutions

LABELS = torch.tensor([0, 1, 2, 0, 1])
NETWORKS = {
    "logreg": (nn.Sequential(nn.Flatten(), nn.Linear(8, 3)), torch.randn(5, 2, 4)),
    "mlp": (nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 6, bias=False), nn.GELU(), nn.Linear(6, 3)), None),
    "tokens": (Tokens(), torch.randint(7, (5, 9))),
    "positions": (
        nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Flatten(), nn.Linear(18, 3)),
        torch.randn(5, 3, 4),
    ),
    "norm first": (nn.Sequential(nn.GroupNorm(2, 4), nn.Linear(4, 3)), None),
    "cnn": (convolutions(), torch.randn(5, 3, 8, 8)),
    "strides": (
        nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2), nn.GELU(), nn.Conv2d(4, 2, 2, groups=2), nn.Flatten(), nn.Linear(8, 3)
        ),
        torch.randn(5, 3, 8, 8),
    ),
    "resnet9": (sr.ResNet9(width=2).build((3, 16, 16), 3), torch.randn(5, 3, 16, 16)),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("m", [1, 4])
def test_each_network_has_its_own_gradient(name, m):
    module, x = NETWORKS[name]
    x = torch.randn(5, 4) if x is None else x
    objective = Objective(module.double())
    x = x.double() if x.is_floating_point() else x
    omega = objective.flatten()
    networks = StackedNetworks(module)
    assert networks.fits(objective, omega, x, LABELS)
    omegas = omega + 0.3 * torch.randn(m, len(omega), dtype=torch.float64)
    weights = torch.rand(m, len(x), dtype=torch.float64)
    expected = [objective.eager_gradient(w, x, LABELS, c) for w, c in zip(omegas, weights, strict=True)]
    torch.testing.assert_close(
        networks.gradients(omegas, x, LABELS, weights), torch.stack(expected), rtol=1e-9, atol=1e-11
    )


class Skip(nn.Module):
    """A connection around the first layer, where the networks still have one input."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.out = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.out(x + torch.tanh(self.inner(x)))


@pytest.mark.parametrize("module", [Tied(), Squares(), Skip()], ids=["tied", "unknown", "skip"])
def test_what_does_not_stack_is_refused(module):
    objective = Objective(module.double())
    x = torch.randn(5, 4, dtype=torch.float64)
    assert not StackedNetworks(module).fits(objective, objective.flatten(), x, LABELS)
