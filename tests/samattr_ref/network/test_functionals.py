"""Loss, margin and logit of a query: values, slopes, and every method's scores of them against plain autograd."""

from functools import partial

import pytest
import torch
from torch.func import grad

import baselines
import samattr_ref as sr
from samattr_ref.network.functionals import FUNCTIONALS
from tests.conftest import KNOWING, small, tried
from tests.samattr_ref.network.test_sample_gradients import CASES
from tests.samattr_ref.oracle import VALUES, Oracle, retraining_differences
from tests.samattr_ref.test_zoo import METHODS, assert_close
from tests.samattr_ref.zoo import ZOO, Animal, workload_of

OTHERS = [name for name in FUNCTIONALS if name != "loss"]
SIGNED = [name for name, method in sr.methods().items() if method.any_functional]


def test_the_oracle_knows_every_functional():
    assert set(FUNCTIONALS) == set(VALUES)


@pytest.mark.parametrize("name", FUNCTIONALS)
def test_values_and_slopes(name):
    functional = FUNCTIONALS[name]
    logits, y = 3 * torch.randn(20, 4, dtype=torch.float64), torch.randint(4, (20,))
    torch.testing.assert_close(functional.value(logits, y), VALUES[name](logits, y))
    slopes = grad(lambda z: functional.value(z, y).sum())(logits)
    torch.testing.assert_close(functional.by_logits(logits, y), slopes)
    own = functional.by_logits(logits, y)[range(20), y]
    assert (own.sign() == -functional.sign).all()  # a point that helps raises the logit of the class


def test_a_margin_keeps_the_digits_that_a_loss_loses():
    logits = torch.tensor([[40.0, 0, 0]])
    apart = logits + torch.tensor([[1e-3, 0, 0]])
    loss, margin = (FUNCTIONALS[name].value for name in ("loss", "margin"))
    y = torch.tensor([0])
    assert float(loss(logits, y)) == float(loss(apart, y)) == 0
    assert float(margin(apart, y) - margin(logits, y)) == pytest.approx(1e-3, rel=0.01)


@pytest.mark.parametrize("asked", OTHERS)
@pytest.mark.parametrize("name", CASES)
def test_factors_are_those_of_gradients_taken_one_by_one(name, asked):
    module, x, kinds = CASES[name]
    module, x, y = module.double(), x.double() if x.is_floating_point() else x, torch.tensor([0, 1, 2, 0, 1, 2])
    objective, functional = tried(module, x, y, weight_decay=0.1), FUNCTIONALS[asked]
    omega, rows = objective.flatten(), []
    for i in range(len(x)):
        value = VALUES[asked](module(x[i : i + 1].clone()), y[i : i + 1]).sum()
        parts = torch.autograd.grad(value, list(module.parameters()), allow_unused=True, materialize_grads=True)
        rows.append(torch.cat([part.reshape(-1) for part in parts]))
    exact = {"rtol": 1e-9, "atol": 1e-11}
    factors = objective.factored_gradients(omega, x, y, functional)
    assert [type(layer) for layer in factors.layers] == kinds
    torch.testing.assert_close(factors.dense(), torch.stack(rows), **exact)
    losses = objective.sample_gradients(omega, x, y)
    products = objective.gradient_products(omega, x, y, factors)
    torch.testing.assert_close(products, losses @ torch.stack(rows).T, **exact)
    mean = objective.mean_gradient(omega, x, y, functional=functional)
    torch.testing.assert_close(mean, torch.stack(rows).mean(0), **exact)


ROWS = [
    "tanh",
    "tied-closure",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("residual", "control-flow-by-sample")),
]


@pytest.fixture(scope="module", params=ROWS)
def row(request):
    workload = workload_of(ZOO[request.param])
    run = sr.train(workload)
    return run, {name: Oracle(workload, run.batches, run.step_sizes, workload.queries, name) for name in OTHERS}


@pytest.mark.parametrize("asked", OTHERS)
def test_every_method_agrees_with_the_oracle(row, asked):
    run, oracles = row
    queries = run.workload.queries.of(asked)
    assert set(SIGNED) == set(METHODS) | {"random"}
    for method, options in METHODS.items():
        found = sr.attribute(run, method, queries, **options).values
        assert_close(found, oracles[asked].scores(method))
        if KNOWING[method].linear:
            pooled = sr.attribute(run, method, queries.pool(), **options).values
            assert_close(pooled[:, 0], found.mean(1))


@pytest.mark.parametrize("asked", OTHERS)
def test_the_derivative_is_that_of_retraining(row, asked):
    run, _ = row
    queries = run.workload.queries.of(asked)
    found = sr.attribute(run, "sam-unrolled", queries).values[[4, 25]]
    trained = run.workload, run.batches, run.step_sizes
    assert_close(found, retraining_differences(*trained, [4, 25], queries, value=VALUES[asked]), 1e-5)


def test_blocks_of_queries_are_asked_the_same(monkeypatch):
    run = sr.train(small("digits-mlp"))
    queries = run.workload.queries.of("margin")
    whole = sr.attribute(run, "sam-gif", queries).values
    least = sr.attribute(run, "sam-gif", queries, memory_bytes=1_500_000).values
    torch.testing.assert_close(least, whole, rtol=1e-9, atol=1e-12)
    for part in (queries.take(slice(2)), queries.to("cpu", torch.float32), queries.pool()):
        assert part.functional is FUNCTIONALS["margin"]


def test_a_newton_step_scores_what_is_asked():
    recipe = {"steps": 400, "batch_size": None, "learning_rate": 0.5, "weight_decay": 0.1, "rho": 0.05}
    workload = workload_of(Animal(lambda: torch.nn.Linear(4, 3)), **recipe)
    run = sr.train(workload)
    changes = sr.parameter_change(run, "sam-hif-implicit", [[3], [7]], newton=True, damping=0.01)
    for asked, value in VALUES.items():
        queries = workload.queries.of(asked)
        found = sr.attribute(run, "sam-hif-implicit", queries, newton=True, damping=0.01).values[[3, 7]]
        at = partial(run.objective.logits, x=queries.x)
        before, after = (
            value(at(run.parameters), queries.y),
            [value(at(run.parameters + c), queries.y) for c in changes],
        )
        torch.testing.assert_close(found, torch.stack(after) - before, rtol=1e-6, atol=1e-10)


def test_effects_of_retraining_are_of_what_is_asked():
    run = sr.train(small(n_train=40))
    truth = baselines.leave_one_out(run)
    for asked, value in VALUES.items():
        queries = run.workload.queries.of(asked)
        logits = [run.objective.logits(omega, queries.x) for omega in (run.parameters, truth.parameters[11])]
        before, after = (value(z, queries.y) for z in logits)
        torch.testing.assert_close(truth.effects(queries)[11], after - before, rtol=1e-6, atol=1e-12)
    loss, margin = (truth.effects(run.workload.queries.of(asked)) for asked in ("loss", "margin"))
    assert torch.equal(loss.argsort(0), margin.argsort(0, descending=True))


def test_what_cannot_be_asked_is_one_line():
    run = sr.train(small())
    queries = run.workload.queries

    def mine(run, queries):
        return run.query_losses(run.train)[:, None].repeat(1, len(queries))

    with pytest.raises(sr.SamattrError, match="unknown functional of a query 'margins': did you mean 'margin'"):
        queries.of("margins")
    with pytest.raises(sr.SamattrError, match=r"functional must be a Functional, not 'margin': use examples.of"):
        sr.Examples(queries.x, queries.y, functional="margin")
    with pytest.raises(sr.SamattrError, match="mine attributes the queries' loss alone, not their logit"):
        sr.attribute(run, mine, queries.of("logit"))
    others = {name: method for name, method in sr.methods(optional=True).items() if name not in SIGNED}
    assert set(others) == {name for name, method in sr.methods(optional=True).items() if method.optional}
    for method in others.values():
        with pytest.raises(sr.SamattrError, match="attributes the queries' loss alone, not their margin"):
            method.check_functional("margin")
