"""Losses, gradients and curvature products against plain autograd and curvlinops."""

import threading
from concurrent.futures import ThreadPoolExecutor

import curvlinops
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import samattr_ref as sr
from samattr_ref.network import objective as objective_module
from samattr_ref.network.network import Ways
from samattr_ref.network.objective import Objective
from samattr_ref.network.proof import refuse_layers
from tests.conftest import small, small_cnn


def case(make=small_cnn):
    run = sr.train(make())
    return run.objective, run.parameters, run.train.x, run.train.y


@pytest.mark.parametrize("make", [small, small_cnn])
def test_loss_and_gradients_agree_with_plain_autograd(make):
    objective, omega, x, y = case(make)
    weights = torch.rand(len(x), generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(omega)

    def plain(w):
        losses = cross_entropy(
            torch.func.functional_call(objective.module, objective.unflatten(w), (x,)), y, reduction="none"
        )
        return (weights * losses).sum() / len(x) + objective.weight_decay / 2 * (w**2).sum()

    leaf = omega.clone().requires_grad_()
    (expected,) = torch.autograd.grad(plain(leaf), leaf)
    torch.testing.assert_close(objective.loss(omega, x, y, weights), plain(omega))
    torch.testing.assert_close(objective.gradient(omega, x, y, weights), expected)
    torch.testing.assert_close(objective.eager_gradient(omega, x, y, weights), expected)


@pytest.mark.parametrize("make", [small, small_cnn])
def test_sample_gradients_and_their_products(make):
    objective, omega, x, y = case(make)
    rows = []
    for i in range(len(x)):
        leaf = omega.clone().requires_grad_()
        (row,) = torch.autograd.grad(objective.sample_losses(leaf, x[i : i + 1], y[i : i + 1]).sum(), leaf)
        rows.append(row)
    expected = torch.stack(rows)
    torch.testing.assert_close(objective.sample_gradients(omega, x, y), expected)
    for m in (1, objective_module.FORWARD_COLUMNS, 9):  # forward mode and per-sample gradients
        v = torch.randn(len(omega), m, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(omega)
        torch.testing.assert_close(objective.gradient_products(omega, x, y, v), expected @ v, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("operator", "product"),
    [
        (curvlinops.HessianLinearOperator, Objective.hvp),
        (curvlinops.GGNLinearOperator, Objective.ggnvp),
    ],
)
@pytest.mark.parametrize("make", [small, small_cnn])
def test_curvature_agrees_with_curvlinops(make, operator, product):
    objective, omega, x, y = case(make)
    module = objective.module
    for parameter, value in zip(module.parameters(), objective.unflatten(omega).values(), strict=True):
        parameter.data = value.clone()
    oracle = operator(module, nn.CrossEntropyLoss(), list(module.parameters()), [(x, y)])
    v = torch.randn(len(omega), 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(omega)
    expected = oracle @ v + objective.weight_decay * v
    torch.testing.assert_close(product(objective, omega, x, y, v), expected, rtol=1e-8, atol=1e-10)


def test_layers_without_ground_truth_are_refused():
    for layer in (nn.Dropout(0.5), nn.BatchNorm1d(4), nn.Embedding(4, 4, padding_idx=0)):
        with pytest.raises(sr.SamattrError, match=r"dropout|batch norm|padding_idx"):
            refuse_layers(nn.Sequential(nn.Linear(4, 4), layer))


class Waiting(nn.Linear):
    """A layer whose forward pass waits until another thread is in the midst of its own."""

    met = None

    def forward(self, x):
        if self.met is not None:
            self.met.wait(timeout=10)
        return super().forward(x)


def test_threads_do_not_see_each_others_parameters():
    """Retrainings one after another share a network between threads, to which `functional_call` lends parameters."""
    module = Waiting(5, 3).double()
    objective = Objective(module)
    objective.network.ways = Ways(call="bound")
    x, y = torch.randn(7, 5, dtype=torch.float64), torch.arange(7) % 3
    both = [torch.randn(objective.n_parameters, dtype=torch.float64) for _ in range(2)]
    expected = [objective.sample_losses(omega, x, y) for omega in both]
    module.met = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda omega: objective.sample_losses(omega, x, y), both))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert not torch.equal(*expected)
