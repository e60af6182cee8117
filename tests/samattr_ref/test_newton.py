"""The Newton step against a dense matrix without the point, and against exact retraining at a fixed point."""

import pytest
import torch

import baselines
import samattr_ref as sr
from baselines import metrics
from samattr_ref.sam import perturbation, perturbation_derivative
from tests.conftest import small


def without_point(run, k):
    """A_{−k} and its right-hand side from exact Hessians of the other points, ê and E those of the run."""
    recipe, omega, n = run.workload.recipe, run.parameters, run.n_train
    x, y = run.train.x, run.train.y
    weights = torch.ones(n, dtype=torch.float64)
    weights[k] = 0
    g = run.gradient(omega)
    perturbed = omega + perturbation(g, recipe.rho, recipe.p)

    def hessian(at):
        return torch.autograd.functional.hessian(lambda w: run.objective.loss(w, x, y, weights), at)

    H, H0 = hessian(perturbed), hessian(omega)
    E = perturbation_derivative(g, torch.eye(len(g), dtype=torch.float64), recipe.rho, recipe.p)
    gradient, gradient0 = (
        run.objective.sample_gradients(at, x[k : k + 1], y[k : k + 1])[0] for at in (perturbed, omega)
    )
    return H + H @ E @ H0, (gradient + H @ E @ gradient0) / n


@pytest.mark.parametrize("p", [2.0, 3.0, float("inf")])
def test_the_step_solves_the_system_without_the_point(p):
    run = sr.train(small(p=p, rho=0.1, steps=150))
    change = sr.parameter_change(run, "sam-hif-implicit", [[5], [41]], newton=True)
    for k, found in zip((5, 41), change, strict=True):
        expected = torch.linalg.solve(*without_point(run, k))
        assert (found - expected).norm() < 1e-8 * expected.norm()
    scores = sr.attribute(run, "sam-hif-implicit", newton=True).values[[5, 41]]
    queries = run.workload.queries
    for row, delta in zip(scores, change, strict=True):
        torch.testing.assert_close(row, run.query_losses(queries, run.parameters + delta) - run.query_losses(queries))


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
            metrics.slope(scores.numpy(), truth.values.numpy()),
            metrics.relative_error(change.numpy(), truth.changes.numpy()),
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
