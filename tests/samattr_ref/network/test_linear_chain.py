"""Written-out derivatives of chains, of one network and of many at once, against autograd."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, hessian, jacrev

from samattr_ref.network.linear_chain import ACTIVATIONS, ChainLinearised
from samattr_ref.network.linearised import Linearised
from samattr_ref.network.stacked import stacked_gradients
from tests.conftest import tried

X, Y = torch.randn(7, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), torch.arange(7) % 3
WEIGHTS = torch.linspace(0, 2, 7, dtype=torch.float64)
EXACT = {"rtol": 1e-10, "atol": 1e-12}


def chain(*layers):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 5), *layers, nn.Linear(5, 3)).double()


CHAINS = [*([kind()] for kind in ACTIVATIONS), [nn.Tanh(), nn.Linear(5, 5, bias=False), nn.GELU()], []]


@pytest.mark.parametrize("layers", CHAINS)
@pytest.mark.parametrize("m", [1, 4])
def test_derivatives_equal_those_of_autograd(layers, m):
    objective = tried(chain(*layers), X, Y, weight_decay=0.1)
    omega = objective.flatten()
    u = torch.randn(m, len(omega), dtype=torch.float64)
    found = objective.linearise(omega, X, Y, WEIGHTS)
    assert isinstance(found, ChainLinearised)
    true = Linearised(objective, omega, X, Y, WEIGHTS)
    torch.testing.assert_close(found.gradient, true.gradient, **EXACT)
    for mine, theirs in zip(found.along(u), true.along(u), strict=True):
        torch.testing.assert_close(mine, theirs, **EXACT)
    torch.testing.assert_close(found.sample_products(u), true.along(u)[1], **EXACT)


@pytest.mark.parametrize("layers", CHAINS[-2:])
def test_curvatures_equal_whole_matrices(layers):
    objective = tried(chain(*layers), X, Y, weight_decay=0.1)
    omega = objective.flatten()
    v = torch.randn(len(omega), 5, dtype=torch.float64)
    H = hessian(lambda w: objective.loss(w, X, Y))(omega)
    torch.testing.assert_close(objective.hvp(omega, X, Y, v), H @ v, **EXACT)
    J = jacrev(lambda w: functional_call(objective.module, objective.unflatten(w), (X,)))(omega)
    pi = objective.logits(omega, X).softmax(-1)
    inner = torch.diag_embed(pi) - pi[:, :, None] * pi[:, None, :]
    G = torch.einsum("icp,icd,idq->pq", J, inner, J) / len(X) + 0.1 * torch.eye(len(omega), dtype=torch.float64)
    torch.testing.assert_close(objective.ggnvp(omega, X, Y, v), G @ v, **EXACT)


@pytest.mark.parametrize("layers", CHAINS)
def test_stacked_gradients_equal_autograd_a_network_at_a_time(layers):
    objective = tried(chain(*layers), X, Y)
    omegas = torch.randn(4, objective.n_parameters, dtype=torch.float64)
    weights = torch.rand(4, 7, dtype=torch.float64)
    found = stacked_gradients(objective.chain, omegas, X, Y, weights)
    true = [objective.eager_gradient(omega, X, Y, row) for omega, row in zip(omegas, weights, strict=True)]
    torch.testing.assert_close(found, torch.stack(true), **EXACT)


class Doubled(nn.Sequential):
    """A chain by its layers, but not by what it does."""

    def forward(self, x):
        return super().forward(2 * x)


def twice():
    shared = nn.Linear(5, 5)
    return chain(shared, nn.Tanh(), shared, nn.Tanh())


def tied():
    module = chain(nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 5))
    module[4].weight = module[2].weight
    return module


REFUSED = {
    "other activation": lambda: chain(nn.Hardtanh()),
    "other setting": lambda: chain(nn.GELU(approximate="tanh")),
    "in place": lambda: chain(nn.ReLU(inplace=True)),
    "two activations": lambda: chain(nn.Tanh(), nn.Tanh()),
    "activation first": lambda: nn.Sequential(nn.Flatten(), nn.Tanh(), nn.Linear(6, 3)).double(),
    "other layer": lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.GroupNorm(2, 4), nn.Linear(4, 3)).double(),
    "not flat": lambda: nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Flatten(), nn.Linear(10, 3)).double(),
    "subclass": lambda: Doubled(*chain(nn.Tanh())),
    "used twice": twice,
    "tied": tied,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_a_chain_is_refused(name):
    objective = tried(REFUSED[name]().double(), X, Y)
    omega = objective.flatten()
    assert objective.chain is None
    u = torch.randn(2, len(omega), dtype=torch.float64)
    assert type(objective.linearise(omega, X, Y)) is Linearised
    H = hessian(lambda w: objective.loss(w, X, Y))(omega) if name != "in place" else None
    if H is not None:
        torch.testing.assert_close(objective.hvp(omega, X, Y, u.T), H @ u.T, **EXACT)
