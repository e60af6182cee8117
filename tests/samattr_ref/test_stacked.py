"""Gradients of many networks at once, against autograd a network at a time."""

import pytest
import torch
from torch import nn

from samattr_ref.matmul import matmul_t
from samattr_ref.objective import Objective
from samattr_ref.stacked import ACTIVATIONS, StackedNetworks, stack

X, Y = torch.randn(7, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), torch.arange(7) % 3


def chain(*layers):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 5), *layers, nn.Linear(5, 3)).double()


@pytest.mark.parametrize("layers", [*([kind()] for kind in ACTIVATIONS), [nn.Tanh(), nn.Linear(5, 5, bias=False)], []])
def test_gradients_equal_autograd(layers):
    objective = Objective(chain(*layers))
    omegas = torch.randn(4, objective.n_parameters, dtype=torch.float64)
    weights = torch.rand(4, 7, dtype=torch.float64)
    found = StackedNetworks(objective.module).gradients(omegas, X, Y, weights)
    true = [objective.eager_gradient(omega, X, Y, row) for omega, row in zip(omegas, weights, strict=True)]
    torch.testing.assert_close(found, torch.stack(true), rtol=1e-11, atol=1e-13)


class Doubled(nn.Sequential):
    """A chain by its layers, but not by what it does."""

    def forward(self, x):
        return super().forward(2 * x)


def doubled():
    module = chain(nn.Tanh())
    module.forward = lambda x: nn.Sequential.forward(module, 2 * x)
    return module


def tied():
    shared = nn.Linear(5, 5)
    return chain(shared, nn.Tanh(), shared)


REFUSED = {
    "other activation": lambda: chain(nn.Hardtanh()),
    "other setting": lambda: chain(nn.GELU(approximate="tanh")),
    "in place": lambda: chain(nn.ReLU(inplace=True)),
    "convolution": lambda: nn.Sequential(nn.Conv2d(2, 3, 1), nn.Flatten()).double(),
    "subclass": lambda: Doubled(*chain(nn.Tanh())),
    "other forward": doubled,
    "tied": tied,
    "no layer": lambda: nn.Sequential(nn.Flatten()),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_a_chain_is_refused(name):
    module = REFUSED[name]()
    x = X if name != "convolution" else X[:, :, :, None][..., :1]
    objective = Objective(module)
    omega = objective.flatten() if name != "no layer" else torch.zeros(0, dtype=torch.float64)
    assert stack(objective, omega, x, Y) is None
    fine = Objective(chain(nn.Tanh()))
    assert stack(fine, fine.flatten(), X, Y) is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(5, 7, 3), (1, 1, 1), (64, 50, 33), (3, 4, 0), (0, 4, 3)])
def test_matrix_products_equal_plain_ones(shape, dtype):
    m, n, k = shape
    a, b = torch.randn(m, k, dtype=dtype), torch.randn(k, n, dtype=dtype).T
    exact = (a.double() @ b.double().T).to(dtype)
    torch.testing.assert_close(matmul_t(a, b), exact)
    torch.testing.assert_close(matmul_t(a.T.contiguous().T, b), exact)
