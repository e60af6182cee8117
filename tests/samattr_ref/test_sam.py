"""The perturbation and its derivative against autograd and their defining properties; the step against an oracle."""

import math

import pytest
import pytorch_optimizer
import torch
from hypothesis import given
from hypothesis import strategies as st

import samattr_ref as sr
from samattr_ref.sam import perturbation, perturbation_derivative
from samattr_ref.step import Batch, first_state, sam_step
from samattr_ref.variants import Draw, Rule
from tests.conftest import small, small_cnn

ORDERS = [1.0, 1.5, 2.0, 3.0, 7.0, math.inf]


def gradient(seed=0, size=9):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("p", ORDERS)
@given(seed=st.integers(0, 2**31), rho=st.floats(0.01, 10))
def test_perturbation_is_the_maximiser(p, seed, rho):
    g = gradient(seed)
    q = 1.0 if math.isinf(p) else math.inf if p == 1 else p / (p - 1)
    e = perturbation(g, rho, p)
    assert torch.linalg.vector_norm(e, p).item() == pytest.approx(rho)
    assert (e @ g).item() == pytest.approx(rho * torch.linalg.vector_norm(g, q).item())


@pytest.mark.parametrize("p", ORDERS)
def test_perturbation_ignores_the_scale_of_the_gradient(p):
    g = gradient()
    for scale in (1e-150, 1e150):
        torch.testing.assert_close(perturbation(scale * g, 0.3, p), perturbation(g, 0.3, p))


@pytest.mark.parametrize("p", ORDERS)
def test_zero_gradient_gives_no_perturbation_and_no_derivative(p):
    zero = torch.zeros(4, dtype=torch.float64)
    assert torch.equal(perturbation(zero, 0.3, p), zero)
    assert torch.equal(perturbation_derivative(zero, torch.ones_like(zero), 0.3, p), zero)


@pytest.mark.parametrize("p", ORDERS)
def test_derivative_agrees_with_autograd(p):
    g, rho = gradient(3), 0.7
    exact = torch.func.jacrev(lambda v: perturbation(v, rho, p))(g)
    closed = perturbation_derivative(g, torch.eye(len(g), dtype=g.dtype), rho, p)
    torch.testing.assert_close(closed, exact, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(perturbation_derivative(g, g, rho, p), exact @ g, rtol=1e-10, atol=1e-10)


def test_derivative_for_the_2_norm_is_the_projection():
    g, rho = gradient(1), 0.2
    unit = g / g.norm()
    projection = rho / g.norm() * (torch.eye(len(g), dtype=g.dtype) - torch.outer(unit, unit))
    torch.testing.assert_close(perturbation_derivative(g, torch.eye(len(g), dtype=g.dtype), rho, 2), projection)


@pytest.mark.parametrize("p", [1.5, 3.0])
def test_a_zero_coordinate_is_held_at_zero(p):
    g = gradient(2)
    g[4] = 0
    J = perturbation_derivative(g, torch.eye(len(g), dtype=g.dtype), 0.5, p)
    assert torch.isfinite(J).all()
    assert (J[4] == 0).all()
    assert (J[:, 4] == 0).all()
    others = torch.arange(len(g)) != 4
    rest = perturbation_derivative(g[others], torch.eye(len(g) - 1, dtype=g.dtype), 0.5, p)
    torch.testing.assert_close(J[others][:, others], rest)
    assert torch.isfinite(torch.func.jacrev(lambda v: perturbation(v, 0.5, p))(g)).all()


@pytest.mark.parametrize(("rho", "p"), [(-0.1, 2), (math.nan, 2), (0.1, 0.5), (0.1, math.nan)])
def test_radius_and_order_out_of_range_are_refused(rho, p):
    with pytest.raises(sr.SamattrError, match=r"rho must be|p must lie"):
        sr.SamRecipe(rho=rho, p=p)


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.9}, {"momentum": 0.9, "schedule": "cosine", "warmup": 3}])
@pytest.mark.parametrize("make", [small, small_cnn])
def test_training_agrees_with_pytorch_optimizer_step_for_step(make, settings):
    workload = make(steps=15, rho=0.3, weight_decay=0.02, **settings)
    run = sr.train(workload)
    objective, initial = workload.build()
    module = objective.module
    recipe = workload.recipe
    optimizer = pytorch_optimizer.SAM(
        module.parameters(), torch.optim.SGD, rho=recipe.rho, lr=1.0, momentum=recipe.momentum, perturb_eps=0.0
    )
    close = {"rtol": 0, "atol": 1e-6}  # the oracle rounds ‖g‖ to float32: 6e-8 of each ê, carried along
    for t in range(run.n_steps):
        torch.testing.assert_close(objective.flatten(), run.checkpoints[t], **close)
        batch = run.batch(t)
        x, y = run.train.x[batch], run.train.y[batch]

        def closure(x=x, y=y):
            optimizer.zero_grad()
            penalty = sum((parameter**2).sum() for parameter in module.parameters())
            loss = torch.nn.functional.cross_entropy(module(x), y) + 0.5 * recipe.weight_decay * penalty
            loss.backward()
            return loss

        for group in optimizer.param_groups:
            group["lr"] = float(run.step_sizes[t])
        closure()
        optimizer.step(closure)
    torch.testing.assert_close(objective.flatten(), run.parameters, **close)
    assert not torch.equal(run.parameters, initial)


def test_step_without_radius_is_plain_sgd():
    g = gradient()
    rule = Rule(rho=0.0)

    class Quadratic(Batch):
        def gradient(self, omega, keep=None):
            return 2 * omega

    after = sam_step(Quadratic(None, None, None), first_state(g, rule), 0.1, rule, Draw())
    torch.testing.assert_close(after.omega, g - 0.1 * 2 * g)
    assert (after.velocity == 0).all()  # without momentum nothing is kept
