"""The perturbation and its derivative against autograd and their defining properties; the step against an oracle."""

import math
from functools import partial

import numpy
import pytest
import pytorch_optimizer
import torch
from hypothesis import given
from hypothesis import strategies as st

import samattr_ref as sr
from samattr_ref.sam.perturbation import perturbation, perturbation_derivative
from samattr_ref.sam.step import Batch, first_state, sam_step
from samattr_ref.sam.variants import Draw, Rule
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


WHOLE = torch.tensor([[3, -4, 0, 1, 7, -2], [1, 1, -1, 0, 2, -5]])
"""Two rows that a power of two scales without rounding, into the denormal numbers too."""

EXPONENTS = {
    torch.float32: (-149, -147, -120, -76, -75, -64, -55, -45, 0, 45, 58, 61, 64, 90, 124),
    torch.float64: (-1074, -1070, -1000, -540, -537, -500, -449, 0, 449, 498, 511, 700, 1020),
}
SCALED = [(dtype, exponent) for dtype, several in EXPONENTS.items() for exponent in several]


def times_power(v, dtype, exponent):
    return torch.as_tensor(numpy.ldexp(v.to(dtype).numpy(), exponent))


@pytest.mark.parametrize("p", ORDERS)
@pytest.mark.parametrize(("dtype", "exponent"), SCALED)
def test_no_gradient_is_too_short_or_too_long_for_its_perturbation(dtype, exponent, p):
    g, close = times_power(WHOLE, dtype, exponent), {"rtol": 3e-6 if dtype == torch.float32 else 1e-14, "atol": 0}
    expected = perturbation(WHOLE.double(), 0.3, p).to(dtype)
    torch.testing.assert_close(perturbation(g, 0.3, p), expected, **close)
    torch.testing.assert_close(torch.func.vmap(partial(perturbation, rho=0.3, p=p))(g), expected, **close)
    torch.testing.assert_close(perturbation(g[0], 0.3, p), expected[0], **close)


@pytest.mark.parametrize("p", ORDERS)
@pytest.mark.parametrize(("dtype", "exponent"), SCALED)
def test_no_gradient_is_too_short_or_too_long_for_its_derivative(dtype, exponent, p):
    """Along v of about the root of its size, where ∂ê/∂g itself may be larger than any number."""
    half = exponent // 2
    close = {"rtol": 3e-5 if dtype == torch.float32 else 1e-12, "atol": 0}
    g, v = WHOLE[0].double(), torch.tensor([[2.0, 1], [1, 1], [0, 3], [-1, 5], [2, 4], [6, -3]], dtype=torch.float64)
    short, along = times_power(WHOLE[0], dtype, exponent), times_power(v, dtype, half)
    held = g != 0 if p > 2 else torch.ones_like(g, dtype=torch.bool)  # a zero has no finite derivative for p > 2
    expected = times_power(perturbation_derivative(g, v, 0.3, p).to(dtype), dtype, half - exponent)
    found = perturbation_derivative(short, along, 0.3, p)
    torch.testing.assert_close(found, expected, **close)
    torch.testing.assert_close(perturbation_derivative(short, along[:, 1], 0.3, p), expected[:, 1], **close)
    ahead = torch.func.vmap(lambda u: torch.func.jvp(partial(perturbation, rho=0.3, p=p), (short,), (u,))[1])(along.T).T
    back = torch.func.vmap(torch.func.vjp(partial(perturbation, rho=0.3, p=p), short)[1])(along.T)[0].T
    for by_torch in (ahead, back):
        torch.testing.assert_close(by_torch[held], expected[held], **close)


@pytest.mark.parametrize("p", ORDERS)
def test_a_derivative_larger_than_any_number_is_infinite_and_zero_where_it_is_zero(p):
    g = times_power(WHOLE[0], torch.float32, -149)
    assert (perturbation_derivative(g, torch.zeros(6), 0.3, p) == 0).all()
    found = perturbation_derivative(g, torch.ones(6), 0.3, p)
    assert not found.isnan().any()
    assert bool((found == 0).all()) is (p in (1.0, math.inf))


@given(values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_any_finite_gradient_has_its_perturbation(values):
    g = torch.tensor(values, dtype=torch.float32)
    exact = g.double()  # whose squares are all within float64
    length = exact.norm()
    expected = 0.3 * exact / length if length > 0 else exact
    torch.testing.assert_close(perturbation(g, 0.3).double(), expected, rtol=1e-6, atol=1e-44)


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 14), (torch.float64, 130)])
def test_ordinary_gradients_are_perturbed_as_the_formula_says_bit_for_bit(dtype, size):
    g = torch.randn(3, 1000, dtype=dtype, generator=torch.Generator().manual_seed(0))
    v = torch.randn(1000, 2, dtype=dtype, generator=torch.Generator().manual_seed(1))
    for scale in (10.0**-size, 1e-3, 1.0, 10.0**size):
        norm = torch.linalg.vector_norm(scale * g, dim=-1, keepdim=True)
        assert torch.equal(perturbation(scale * g, 0.3), scale * g * (0.3 / norm))
        inverse = 1 / torch.linalg.vector_norm(scale * g[0])
        unit = scale * g[0] * inverse
        projected = (0.3 * inverse) * (v - torch.outer(unit, unit @ v))
        assert torch.equal(perturbation_derivative(scale * g[0], v, 0.3), projected)


@pytest.mark.slow
def test_compiled_perturbations_hold_for_every_scale():
    compiled = torch.compile(partial(perturbation, rho=0.3), fullgraph=True, dynamic=False)
    for exponent in EXPONENTS[torch.float32]:
        found = compiled(times_power(WHOLE, torch.float32, exponent))
        torch.testing.assert_close(found, perturbation(WHOLE.float(), 0.3), rtol=1e-6, atol=0)


def test_a_gradient_that_is_not_finite_stays_so():
    for bad in (math.nan, math.inf):
        assert perturbation(torch.tensor([1.0, bad]), 0.3).isnan().any()
        assert perturbation_derivative(torch.tensor([1.0, bad]), torch.ones(2), 0.3).isnan().any()


@pytest.mark.parametrize("p", ORDERS)
def test_zero_gradient_gives_no_perturbation_and_no_derivative(p):
    zero = torch.zeros(4, dtype=torch.float64)
    assert torch.equal(perturbation(zero, 0.3, p), zero)
    assert torch.equal(perturbation_derivative(zero, torch.ones_like(zero), 0.3, p), zero)
    assert torch.equal(torch.func.jvp(lambda g: perturbation(g, 0.3, p), (zero,), (zero + 1,))[1], zero)


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
