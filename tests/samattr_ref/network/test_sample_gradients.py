"""Products of per-sample gradients from layer inputs and output gradients, against autograd a sample at a time."""

import pytest
import torch
from torch import nn

from samattr_ref.network.objective import FORWARD_COLUMNS, Objective
from samattr_ref.network.sample_gradients import Affine, Convolution, Formed, Lookup
from samattr_ref.support import memory as chunking
from tests.conftest import tried
from tests.samattr_ref.networks import Squares, Tied, Tokens, convolutions

IMAGES, VECTORS, TEXT = torch.randn(6, 3, 8, 8), torch.randn(6, 4), torch.randint(7, (6, 9))
CASES = {
    "mlp": (nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3, bias=False)), VECTORS, [Affine, Affine]),
    "tokens": (Tokens(), TEXT, [Lookup, Formed, Affine, Affine]),
    "cnn": (convolutions(), IMAGES, [Convolution, Formed, Convolution, Affine]),
    "grouped": (convolutions(4, groups=2), torch.randn(6, 4, 8, 8), [Formed, Convolution, Affine, Formed]),
    "strided": (
        nn.Sequential(
            nn.Conv2d(3, 2, 3, stride=2, padding=(1, 0), dilation=2),
            nn.Tanh(),
            nn.Conv2d(2, 64, 2),
            nn.Flatten(),
            nn.Linear(128, 3),
        ),
        IMAGES,
        [Convolution, Convolution, Affine],
    ),
    "same": (
        nn.Sequential(nn.Conv2d(3, 2, 3, padding="same"), nn.Flatten(), nn.Linear(128, 3)),
        IMAGES,
        [Affine, Formed],
    ),
    "reflected": (convolutions(padding_mode="reflect"), IMAGES, [Formed, Convolution, Affine, Formed]),
    "in-place": (nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Linear(8, 3)), VECTORS, [Affine, Formed]),
    "tied": (Tied(), VECTORS, [Affine, Formed]),
    "no known layer": (Squares(), VECTORS, [Formed]),
}


def plain(module, x, y):
    rows = []
    for i in range(len(x)):
        loss = nn.functional.cross_entropy(module(x[i : i + 1].clone()), y[i : i + 1])
        parts = torch.autograd.grad(loss, list(module.parameters()), allow_unused=True, materialize_grads=True)
        rows.append(torch.cat([part.reshape(-1) for part in parts]))
    return torch.stack(rows)


@pytest.mark.parametrize("name", CASES)
def test_products_equal_those_of_gradients_taken_one_by_one(name):
    module, x, kinds = CASES[name]
    module = module.double()
    x = x.double() if x.is_floating_point() else x
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    objective = tried(module, x, y, weight_decay=0.1)
    omega = objective.flatten()
    rows = plain(module, x, y)
    exact = {"rtol": 1e-10, "atol": 1e-12}
    torch.testing.assert_close(objective.sample_gradients(omega, x, y), rows, **exact)
    torch.testing.assert_close(objective.gradient_norms(omega, x, y), rows.norm(dim=1), **exact)
    others = objective.factored_gradients(omega, x[:4], y[:4])
    assert [type(layer) for layer in others.layers] == kinds
    torch.testing.assert_close(objective.gradient_products(omega, x, y, others), rows @ rows[:4].T, **exact)
    for m in (1, FORWARD_COLUMNS + 1):
        v = torch.randn(len(omega), m, dtype=torch.float64)
        torch.testing.assert_close(objective.gradient_products(omega, x, y, v), rows @ v, **exact)
    weights = torch.rand(40, len(x), dtype=torch.float64)
    weights[:, 1] = 0
    for m in (1, FORWARD_COLUMNS + 1, len(weights)):
        torch.testing.assert_close(objective.weighted_gradients(omega, x, y, weights[:m]), weights[:m] @ rows, **exact)
    assert not objective.weighted_gradients(omega, x, y, torch.zeros_like(weights)).any()


@pytest.mark.parametrize("name", ["mlp", "tokens", "cnn", "strided"])
def test_chunks_do_not_matter(name, monkeypatch):
    module, x, _ = CASES[name]
    x = x.double() if x.is_floating_point() else x
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    objective = tried(module.double(), x, y)
    omega = objective.flatten()
    others = objective.factored_gradients(omega, x[:4], y[:4])
    whole = objective.gradient_products(omega, x, y, others)
    monkeypatch.setattr(chunking, "DEFAULT_BYTES", 16_000)
    torch.testing.assert_close(objective.gradient_products(omega, x, y, others), whole, rtol=1e-12, atol=1e-14)
    factored = objective.factored_gradients(omega, x, y)
    torch.testing.assert_close(factored.dot(others), whole, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(factored.norms(), factored.dense().norm(dim=1), rtol=1e-12, atol=1e-14)


def test_gradients_at_other_parameters():
    module, x, _ = CASES["mlp"]
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    x = x.double()
    objective = tried(module.double(), x, y)
    omega = objective.flatten()
    there = omega + torch.randn_like(omega)
    here, others = objective.sample_gradients(omega, x, y), objective.sample_gradients(there, x, y)
    products = objective.gradient_products(omega, x, y, objective.factored_gradients(there, x, y))
    torch.testing.assert_close(products, here @ others.T)


def test_without_a_trial_nothing_is_believed():
    objective = Objective(CASES["mlp"][0].double())
    x, y = VECTORS.double(), torch.tensor([0, 1, 2, 0, 1, 2])
    found = objective.factored_gradients(objective.flatten(), x, y)
    assert [type(layer) for layer in found.layers] == [Formed]
    torch.testing.assert_close(found.dense(), plain(objective.module, x, y), rtol=1e-10, atol=1e-12)
