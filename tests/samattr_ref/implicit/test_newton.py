"""The Newton step against a dense matrix without the point, and against exact retraining at a fixed point."""

import pytest
import torch

import baselines
import samattr_ref as sr
from baselines import metrics
from samattr_ref.implicit.newton import NewtonStep
from samattr_ref.implicit.options import ImplicitOptions
from samattr_ref.methods.sam_hif_implicit import FORM
from samattr_ref.sam.perturbation import perturbation, perturbation_derivative
from tests.conftest import small


def without_point(run, k=None):
    """A_{−k} and its right-hand side from exact Hessians of the other points, ê and E those of the run; or A itself."""
    recipe, omega, n = run.workload.recipe, run.parameters, run.n_train
    x, y = run.train.x, run.train.y
    weights = torch.ones(n).to(omega)
    if k is not None:
        weights[k] = 0
    g = run.gradient(omega)
    perturbed = omega + perturbation(g, recipe.rho, recipe.p)

    def hessian(at):
        return torch.autograd.functional.hessian(lambda w: run.objective.loss(w, x, y, weights), at)

    H, H0 = hessian(perturbed), hessian(omega)
    E = perturbation_derivative(g, torch.eye(len(g)).to(g), recipe.rho, recipe.p)
    if k is None:
        return H + H @ E @ H0
    gradient, gradient0 = (
        run.objective.sample_gradients(at, x[k : k + 1], y[k : k + 1])[0] for at in (perturbed, omega)
    )
    return H + H @ E @ H0, (gradient + H @ E @ gradient0) / n


@pytest.mark.parametrize("p", [2.0, 3.0, float("inf")])
def test_the_step_solves_the_system_without_the_point(p):
    run = sr.train(small(p=p, rho=0.1, steps=150))
    change = NewtonStep(run, FORM, ImplicitOptions()).change([5, 41])
    for k, found in zip((5, 41), change, strict=True):
        expected = torch.linalg.solve(*without_point(run, k))
        assert (found - expected).norm() < 1e-8 * expected.norm()


@pytest.mark.slow
def test_what_it_adds_and_what_is_left_of_it():
    """Against steps taken one by one, small enough to be the flow that the exponential is."""
    run = sr.train(
        small(n_train=12, batch_size=6, steps=300, learning_rate=0.01, rho=0.1, schedule="cosine", weight_decay=0.05)
    )
    A, points = without_point(run), range(run.n_train)
    step = torch.stack([torch.linalg.solve(*without_point(run, k)) for k in points])
    left = step
    for eta in run.step_sizes:
        left = left - eta * left @ A.T
    plain = sr.parameter_change(run, "sam-hif-implicit", [[k] for k in points])
    found = NewtonStep(run, FORM, ImplicitOptions()).reach()
    assert found["newton_adds"] == pytest.approx(float((step - plain).norm() / plain.norm()), rel=1e-6)
    assert found["newton_left"] == pytest.approx(float(left.norm() / plain.norm()), rel=5e-3)
    damped = NewtonStep(run, FORM, ImplicitOptions(damping=1.0)).reach()
    assert damped["newton_adds"] < 0.5 * found["newton_adds"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "gains"),
    [
        ({"batch_size": None, "learning_rate": 1.0, "steps": 30}, False),
        ({"batch_size": None, "learning_rate": 1.0, "steps": 100, "weight_decay": 0.01}, False),
        ({"batch_size": None, "learning_rate": 1.0, "steps": 800}, True),
        ({"batch_size": 40, "steps": 100}, False),
        ({"batch_size": 40, "steps": 1500}, True),
    ],
)
def test_it_is_offered_where_exact_retraining_says_that_it_gains(settings, gains):
    common = {"n_train": 400, "n_removed": 12, "rho": 0.2, "schedule": "cosine", "weight_decay": 0.05}
    run = sr.train(small(**(common | settings)))
    truth = baselines.leave_one_out(run)
    newton = NewtonStep(run, FORM, ImplicitOptions()).change([int(k) for k in truth.removed])
    plain = sr.parameter_change(run, "sam-hif-implicit", truth.groups)
    true = truth.changes.cpu().numpy()
    errors = [metrics.relative_error(change.cpu().numpy(), true) for change in (newton, plain)]
    assert (errors[0] < errors[1]) is gains
    if gains:
        scores = sr.attribute(run, "sam-hif-implicit", newton=True)
        change = sr.parameter_change(run, "sam-hif-implicit", truth.groups, newton=True)
        torch.testing.assert_close(change, newton)
        queries = run.workload.queries
        for row, delta in zip(scores.values[truth.removed], change, strict=True):
            expected = run.query_losses(queries, run.parameters + delta) - run.query_losses(queries)
            torch.testing.assert_close(row, expected)
        assert scores.diagnostics["newton_left"] < 0.5 * scores.diagnostics["newton_adds"]
        return
    for ask in (
        lambda: sr.attribute(run, "sam-hif-implicit", newton=True),
        lambda: sr.parameter_change(run, "sam-hif-implicit", truth.groups, newton=True),
    ):
        with pytest.raises(sr.SamattrError, match="does not help here"):
            ask()


@pytest.mark.slow
def test_at_a_fixed_point_it_closes_the_gap_of_finite_removal():
    """Full-batch SAM on a convex problem, trained until it stands: the slope is 1 and the error at most halved."""
    settings = {"n_train": 400, "n_removed": 12, "batch_size": None, "rho": 0.2, "steps": 1200, "learning_rate": 1.0}
    run = sr.train(small(schedule="cosine", weight_decay=0.05, **settings))
    truth = baselines.leave_one_out(run)
    outcome = {}
    for newton in (False, True):
        change = sr.parameter_change(run, "sam-hif-implicit", truth.groups, newton=newton)
        scores = sr.attribute(run, "sam-hif-implicit", newton=newton).values[truth.removed]
        outcome[newton] = (
            metrics.slope(scores.cpu().numpy(), truth.values.cpu().numpy()),
            metrics.relative_error(change.cpu().numpy(), truth.changes.cpu().numpy()),
        )
    assert abs(outcome[True][0] - 1) < 0.02
    assert abs(outcome[True][0] - 1) < 0.5 * abs(outcome[False][0] - 1)
    assert outcome[True][1] < 0.5 * outcome[False][1]


def test_what_it_cannot_do_is_one_line():
    run = sr.train(small())
    with pytest.raises(sr.SamattrError, match="removes single points"):
        sr.parameter_change(run, "sam-hif-implicit", [[1, 2]], newton=True)
    with pytest.raises(sr.SamattrError, match="full training set"):
        sr.attribute(run, "sam-hif-implicit", newton=True, batches=2)
