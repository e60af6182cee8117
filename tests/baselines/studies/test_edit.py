"""Edits against their plain forms: sums of weighted gradients, and fixed points linearised anew without some points."""

import pytest
import torch
from torch.func import grad, hessian

import samattr_ref as sr
from baselines.studies.edit import edit, group_of, without
from baselines.truth import retraining_truth
from samattr_ref.sam.perturbation import perturbation
from tests.conftest import small


@pytest.fixture(scope="module")
def run():
    return sr.train(small(n_train=30, n_query=4, steps=60, n_removed=None))


def test_weighted_gradients_few_or_many_are_the_same(run):
    weights = torch.randn(7, run.n_train, dtype=torch.float64).to(run.parameters)
    x, y = run.train.x, run.train.y
    many = run.objective.weighted_gradients(run.parameters, x, y, weights)
    few = torch.cat([run.objective.weighted_gradients(run.parameters, x, y, row[None]) for row in weights])
    torch.testing.assert_close(many, few)
    torch.testing.assert_close(many, weights @ run.objective.sample_gradients(run.parameters, x, y))


def test_trajectory_changes_are_sums_over_the_run(run):
    group = torch.tensor([3, 8, 20])
    tracin, gif = torch.zeros(2, len(run.parameters)).to(run.parameters)
    recipe = run.workload.recipe
    for t in range(run.n_steps):
        omega, batch = run.checkpoints[t], run.batch(t)
        g = run.objective.gradient(omega, run.train.x[batch], run.train.y[batch])
        perturbed = omega + perturbation(g, recipe.rho, recipe.p)
        for k in set(batch.tolist()) & set(group.tolist()):
            x, y = run.train.x[k : k + 1], run.train.y[k : k + 1]
            size = run.step_sizes[t] / len(batch)
            tracin += size * run.objective.sample_gradients(omega, x, y)[0]
            gif += size * run.objective.sample_gradients(perturbed, x, y)[0]
    torch.testing.assert_close(edit(run, "tracin", [group])[0], run.parameters + tracin)
    torch.testing.assert_close(edit(run, "sam-gif", [group])[0], run.parameters + gif)


def test_a_run_without_points_has_the_fixed_point_of_the_weighted_loss(run):
    """Δ of the remaining run against A⁻¹ r / n, with A from the loss whose removed weights are zero."""
    gone, next_ = torch.tensor([2, 11, 12]), 17
    rest, positions = without(run, gone, run.parameters)
    assert rest.n_train == 27
    assert positions[gone].tolist() == [-1, -1, -1]
    assert torch.equal(rest.train.x[positions[next_]], run.train.x[next_])
    weights, objective = torch.ones(run.n_train).to(run.parameters), run.objective
    weights[gone] = 0

    def loss(omega):
        return objective.loss(omega, run.train.x, run.train.y, weights)

    recipe, omega = run.workload.recipe, run.parameters
    g = grad(loss)(omega)
    at = omega + perturbation(g, recipe.rho, recipe.p)
    unit = g / g.norm()
    identity = torch.eye(len(g)).to(g)
    E = recipe.rho / g.norm() * (identity - torch.outer(unit, unit))
    H, H0 = hessian(loss)(at), hessian(loss)(omega)
    damping = 0.02
    A = H + H @ E @ H0 + damping * identity
    r = objective.sample_gradients(at, run.train.x[next_ : next_ + 1], run.train.y[next_ : next_ + 1])[0]
    expected = torch.linalg.solve(A, r) / run.n_train
    found = sr.parameter_change(rest, "sam-hif", [positions[next_][None]], damping=damping * 30 / 27)[0]
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-12)


def test_parts_linearise_anew(run):
    group = torch.tensor([1, 5, 9, 21])
    whole = edit(run, "sam-if", [group], {"damping": 0.01})[0]
    torch.testing.assert_close(edit(run, "sam-if", [group], {"damping": 0.01}, parts=1)[0], whole)
    first = run.parameters + sr.parameter_change(run, "sam-if", [group[:2]], damping=0.01)[0]
    rest, positions = without(run, group[:2], first)
    second = first + sr.parameter_change(rest, "sam-if", [positions[group[2:]]], damping=0.01 * 30 / 28)[0]
    found = edit(run, "sam-if", [group], {"damping": 0.01}, parts=2)[0]
    torch.testing.assert_close(found, second)
    truth = retraining_truth(run, [group]).parameters[0]
    assert (found - truth).norm() < (run.parameters - truth).norm()


def test_groups(run):
    value = torch.arange(30.0)
    assert group_of(run, "most", 0.1, value).tolist() == [29, 28, 27]
    assert group_of(run, "least", 0.1, value).tolist() == [0, 1, 2]
    assert group_of(run, "random", 0.2).tolist()[:3] == group_of(run, "random", 0.1).tolist()
    with pytest.raises(sr.SamattrError, match="'most' or 'least' valuable by given scores"):
        group_of(run, "most", 0.1)
