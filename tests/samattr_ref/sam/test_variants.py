"""Variants of SAM: their steps against another implementation, their derivatives against retraining and autograd."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy
import pytest
import pytorch_optimizer
import torch

import samattr_ref as sr
from baselines import retrain
from samattr_ref.implicit.options import ImplicitOptions
from samattr_ref.implicit.system import ImplicitSystem
from samattr_ref.methods.sam_hif_implicit import FORM
from samattr_ref.sam.step import Batch
from samattr_ref.sam.variants import NOTHING, VARIANTS, Draw, Point, Rule
from samattr_ref.unrolled.derivative import reverse
from tests.conftest import small, small_cnn
from tests.samattr_ref.sam.test_perturbation import SCALED, WHOLE, times_power
from tests.samattr_ref.unrolled.test_derivative import derivative

NAMES = [name for name in VARIANTS if name != "sam"]
ORACLES = {
    "asam": ({"xi": 0.0}, pytorch_optimizer.SAM, {"adaptive": True}),
    "friendly-sam": ({}, pytorch_optimizer.FriendlySAM, {"sigma": 1.0, "lmbda": 0.9}),
}


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_training_agrees_with_pytorch_optimizer_step_for_step(name, momentum):
    settings, oracle, options = ORACLES[name]
    workload = small(variant=name, steps=12, rho=0.3, weight_decay=0.0, momentum=momentum, **settings)
    run = sr.train(workload)
    objective, _ = workload.build()
    module = objective.module
    optimizer = oracle(
        module.parameters(), torch.optim.SGD, rho=0.3, lr=1.0, momentum=momentum, perturb_eps=0.0, **options
    )
    for t in range(run.n_steps):
        torch.testing.assert_close(objective.flatten(), run.checkpoints[t], rtol=0, atol=1e-6)
        batch = run.batch(t)

        def closure(x=run.train.x[batch], y=run.train.y[batch]):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(module(x), y)
            loss.backward()
            return loss

        for group in optimizer.param_groups:
            group["lr"] = float(run.step_sizes[t])
        closure()
        optimizer.step(closure)
    torch.testing.assert_close(objective.flatten(), run.parameters, rtol=0, atol=1e-6)


def test_perturbations_are_their_formulas():
    omega, g, memory = (
        torch.randn(9, generator=torch.Generator().manual_seed(i), dtype=torch.float64) for i in range(3)
    )
    T = omega.abs() + 0.01
    asam = Rule(0.3, variant=sr.Asam()).perturb(omega, g, memory)
    torch.testing.assert_close(asam, 0.3 * T**2 * g / (T * g).norm())
    F = 1 + 2.0 * g**2
    fisher = Rule(0.3, variant=sr.FisherSam(eta=2.0)).perturb(omega, g, memory)
    torch.testing.assert_close(fisher, 0.3 * g / F / (g @ (g / F)).sqrt())
    friendly = Rule(0.3, variant=sr.FriendlySam(sigma=0.5)).perturb(omega, g, memory)
    d = g - 0.5 * memory
    torch.testing.assert_close(friendly, 0.3 * d / d.norm())
    mask = torch.tensor([1.0, 0, 1, 1, 0, 1, 1, 0, 1], dtype=torch.float64)
    esam = Rule(0.3, variant=sr.Esam(beta=0.6)).perturb(omega, g, memory, Draw(mask=mask))
    torch.testing.assert_close(esam, mask * g * (0.3 / 0.6) / g.norm())
    G = sr.Gsam(alpha=0.7).combine(g, memory)
    orthogonal = g - (g @ memory) / (memory @ memory) * memory
    torch.testing.assert_close(G, memory - 0.7 * orthogonal)
    assert abs(float(orthogonal @ memory)) < 1e-12


SMALL = 3e-5, 1e-12
"""Relative errors that count as rounding, float32 and float64."""


def close(dtype):
    return {"rtol": SMALL[dtype == torch.float64], "atol": 0}


@pytest.mark.parametrize("variant", [sr.Asam(), sr.FriendlySam(sigma=0.7), sr.Esam()])
@pytest.mark.parametrize(("dtype", "exponent"), SCALED)
def test_perturbations_and_their_derivatives_ignore_the_scale_of_the_gradient(dtype, exponent, variant):
    rule, omega = Rule(0.3, variant=variant), torch.tensor([0.5, -1, 2, 0.1, 0, 3], dtype=dtype)
    memory = torch.tensor([2, 0, -5, 1, 3, 7])

    def at(exponent):
        g, m = times_power(WHOLE, dtype, exponent), times_power(memory, dtype, exponent)
        e = rule.perturb(omega, g, m)
        point = Point(omega, g[0], m, g[0])
        return e, rule.jvp(point, torch.zeros_like(g), g.flip(1), g)[0]

    for found, expected in zip(at(exponent), at(0), strict=True):
        torch.testing.assert_close(found, expected, **close(dtype))


@pytest.mark.parametrize("eta", [0.0, 1e-6, 1.0, 4.0])
@pytest.mark.parametrize(("dtype", "exponent"), SCALED)
def test_fisher_sam_is_its_formula_at_every_scale(dtype, exponent, eta):
    g = times_power(WHOLE[0], dtype, exponent)
    root = 1 / numpy.hypot(1, math.sqrt(eta) * g.double().numpy())
    along = root * g.double().numpy()
    along /= abs(along).max()
    expected = torch.as_tensor(0.3 * root * along / numpy.linalg.norm(along)).to(dtype)
    found = sr.FisherSam(eta=eta).perturb(g, g, g, 0.3, 2.0, NOTHING)
    lost = 4 * torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps  # of numbers too small to hold all digits
    torch.testing.assert_close(found, expected, **(close(dtype) | {"atol": lost}))


@pytest.mark.parametrize(
    ("dtype", "exponent", "other"),
    [
        *[(torch.float32, a, b) for a, b in ((-120, -120), (-120, 0), (0, -120), (100, 100), (100, -100), (-100, 100))],
        *[(torch.float64, a, b) for a, b in ((-1000, -1000), (-900, 3), (3, -900), (1000, 1000), (900, -900))],
    ],
)
def test_gsam_takes_the_orthogonal_part_at_every_scale(dtype, exponent, other):
    g, perturbed = WHOLE[0].double(), WHOLE[1].double()
    orthogonal = g - (g @ perturbed) / (perturbed @ perturbed) * perturbed
    far, near = times_power(0.2 * orthogonal, dtype, exponent), times_power(WHOLE[1], dtype, other)
    found = sr.Gsam(alpha=0.2).combine(times_power(WHOLE[0], dtype, exponent), near)
    torch.testing.assert_close(found, near - far, rtol=SMALL[dtype == torch.float64], atol=0)


def test_variants_without_their_own_part_are_sam():
    plain = sr.train(small(rho=0.2)).parameters
    for variant in (sr.FisherSam(eta=0.0), sr.FriendlySam(sigma=0.0), sr.Esam(beta=1.0, gamma=1.0), sr.Gsam(alpha=0.0)):
        torch.testing.assert_close(sr.train(small(rho=0.2, variant=variant)).parameters, plain, rtol=1e-9, atol=1e-12)
    for name in NAMES:
        without = sr.train(small(rho=0.0, variant=name)).parameters
        assert torch.equal(without, sr.train(small(rho=0.0)).parameters)
        assert not torch.equal(sr.train(small(rho=0.2, variant=name)).parameters, plain)


def test_esam_draws_by_seed_and_keeps_the_points_it_hurts_most():
    variant = sr.Esam(beta=0.3, gamma=0.4)
    masks = [variant.draw(seed, t, torch.zeros(4000)).mask for seed, t in ((0, 1), (0, 1), (0, 2), (1, 1))]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert not torch.equal(masks[0], masks[3])
    assert abs(float(masks[0].mean()) - 0.3) < 0.03
    increase = torch.tensor([0.1, -torch.inf, 3.0, 2.0, -1.0])
    assert variant.keep(increase).tolist() == [0, 0, 2.5, 2.5, 0]
    run = sr.train(small(variant=variant))
    points = run.batch(0)
    weights = torch.ones(len(points)).to(run.parameters)
    batch = Batch(run.objective, run.train.x[points], run.train.y[points], weights)
    omega = run.checkpoints[0]
    assert float(batch.keep(Rule(0.2, variant=variant), omega, omega + 0.1).sum()) == pytest.approx(len(points))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("make", [small, small_cnn])
def test_batched_and_looped_retraining_agree(name, make):
    run = sr.train(make(variant=name, momentum=0.5, rho=0.1))
    groups = [torch.tensor([], dtype=torch.int64), torch.tensor([3]), torch.tensor([5, 8])]
    batched, looped = retrain(run, groups, "batched"), retrain(run, groups, "loop")
    torch.testing.assert_close(batched, looped, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(batched[0], run.parameters, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_scores_are_central_differences_of_retraining(name, momentum):
    run = sr.train(small("digits-mlp", variant=name, rho=0.1, steps=12, learning_rate=0.1, momentum=momentum))
    scores = sr.attribute(run, "sam-unrolled").values
    gradients = run.query_gradients(run.workload.queries)
    expected = torch.stack([gradients @ derivative(run, k, 3.0) for k in (3, 17, 31)])
    assert (scores[[3, 17, 31]] - expected).norm() < 1e-5 * expected.norm()
    groups = [torch.tensor([k]) for k in (3, 17, 31)]
    ahead = sr.parameter_change(run, "sam-unrolled", groups) @ gradients.T
    assert (ahead - scores[[3, 17, 31]]).norm() < 1e-10 * ahead.norm()


@pytest.mark.parametrize("name", NAMES)
def test_memory_is_bounded_bit_for_bit(name):
    workload = small("digits-mlp", variant=name, momentum=0.9, steps=23)
    every, few = sr.train(workload, "all"), sr.train(workload, 2)
    directions = every.query_gradients(every.workload.queries)
    exact = sr.attribute(every, "sam-unrolled").values
    assert torch.equal(reverse(few, directions, 0, 4 * 3 * 8 * len(every.parameters)).values, exact)
    assert torch.equal(sr.attribute(few, "sam-gif").values, sr.attribute(every, "sam-gif").values)


@pytest.mark.parametrize("name", ["asam", "fisher-sam", "friendly-sam"])
def test_the_implicit_system_is_the_jacobian_of_the_full_batch_step(name):
    """A = ∂G/∂ω and r_k = −∂G/∂w_k, by autograd through G(ω; w) = ∇L(ω + ê(ω, ∇L(ω; w)); w)."""
    settings = {"sigma": 0.5} if name == "friendly-sam" else {}
    run = sr.train(small(variant=name, rho=0.2, steps=60, **settings))
    rule, x, y, n = run.workload.recipe.rule, run.train.x, run.train.y, run.n_train

    def direction(omega, weights):
        def gradient(at):
            return torch.autograd.grad(run.objective.loss(at, x, y, weights), at, create_graph=True)[0]

        g = gradient(omega)
        memory = g if rule.variant.remembers else omega[:0]
        return gradient(omega + rule.perturb(omega, g, memory, NOTHING))

    ones = torch.ones(n).to(run.parameters)
    A, through_weights = torch.autograd.functional.jacobian(direction, (run.parameters, ones))
    system = ImplicitSystem(run, FORM, ImplicitOptions())
    torch.testing.assert_close(system.dense(), A, rtol=1e-7, atol=1e-10)
    v = torch.randn(len(A), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(A)
    fresh = ImplicitSystem(sr.train(run.workload), FORM, ImplicitOptions())
    torch.testing.assert_close(fresh.product(v), A @ v, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(fresh.transpose_product(v), A.T @ v, rtol=1e-7, atol=1e-9)
    change = sr.parameter_change(run, "sam-hif-implicit", [[4], [9]])
    expected = torch.linalg.solve(A, through_weights[:, [4, 9]]).T  # removing a point: dw = −1, and A Δ = −∂G/∂w dw
    assert (change - expected).norm() < 1e-8 * expected.norm()
    scores = sr.attribute(run, "sam-hif-implicit").values[[4, 9]]
    torch.testing.assert_close(scores, change @ run.query_gradients(run.workload.queries).T)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_method_scores_every_variant(name):
    run = sr.train(small(variant=name, rho=0.1))
    for method in sr.methods().values():
        for options in ({}, *(way.options for way in method.ways.values() if not way.change)):
            assert sr.attribute(run, method.name, **options).values.isfinite().all()


def test_a_variant_of_ones_own_is_its_class_alone(registering):
    @sr.variant
    @dataclass(frozen=True)
    class Half(sr.Sam):
        name: ClassVar[str] = "half-sam"

        def perturb(self, omega, g, memory, rho, p, draw):
            return super().perturb(omega, g, memory, rho / 2, p, draw)

    assert Half.label == "Half sam" and not Half().perturbs_as_sam and not Half().is_sam
    run, plain = sr.train(small(variant="half-sam", rho=0.2)), sr.train(small(rho=0.1))
    assert torch.equal(run.parameters, plain.parameters)
    for method in ("sam-unrolled", "sam-hif-implicit"):
        scores, expected = (sr.attribute(each, method).values for each in (run, plain))
        torch.testing.assert_close(scores, expected, rtol=1e-9, atol=1e-12)
    for wrong in (dataclass(frozen=True)(type("Nameless", (sr.Sam,), {})), int):
        with pytest.raises(sr.SamattrError, match="with a name of its own"):
            sr.variant(wrong)


def test_bad_variants_are_one_line():
    with pytest.raises(sr.SamattrError, match="did you mean 'asam'"):
        small(variant="asm")
    with pytest.raises(sr.SamattrError, match="norm of its own"):
        small(variant="asam", p=3.0)
    for name, constants in (
        ("asam", {"xi": -1}),
        ("fisher-sam", {"eta": math.inf}),
        ("friendly-sam", {"decay": 1.0}),
        ("friendly-sam", {"sigma": math.nan}),
        ("esam", {"beta": 0}),
        ("gsam", {"alpha": -0.1}),
    ):
        with pytest.raises(sr.SamattrError, match=f"of {name} must"):
            small(variant=name, **constants)
    with pytest.raises(sr.SamattrError, match="as an object"):
        sr.SamRecipe(variant="asam")
    with pytest.raises(sr.SamattrError, match="for SAM itself"):
        sr.attribute(sr.train(small(variant="asam")), "sam-hif-implicit", newton=True)
    assert small(variant="gsam", alpha=0.5).recipe.variant == sr.Gsam(0.5)
    assert small(variant="gsam").key() != small().key()
    assert Point(*[torch.zeros(1)] * 4).draw == NOTHING
