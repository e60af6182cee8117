"""The parts of the error that the open questions are about: each is what it says, and each bound holds."""

import math

import numpy as np
import pytest
import torch

import baselines
import samattr_ref as sr
from baselines.metrics import relative_error
from baselines.studies.gif_errors import STAGES, omitted_bound, stages
from baselines.studies.loo_and_lds import fidelity
from baselines.studies.sign_flips import sign_flips
from samattr_ref.sam.perturbation import perturbation
from tests.conftest import small


def test_stages_lead_from_sparse_gif_to_the_truth():
    workload = small("digits-mlp", hidden=(6,))
    frame = stages(workload, 4).set_index("stage")
    assert tuple(frame.index) == STAGES
    run = sr.train(workload)
    true = baselines.leave_one_out(run).values.numpy()
    sparse, exact = (
        sr.attribute(run, name, **options).values.numpy()
        for name, options in (("sam-gif", {"checkpoints": 4}), ("sam-unrolled", {}))
    )
    assert frame.loc["checkpoint sparsity", "before"] == pytest.approx(relative_error(sparse, true))
    assert frame.loc["Hessian terms", "after"] == pytest.approx(relative_error(exact, true))
    assert frame.loc["non-linearity", "after"] == 0
    assert frame.loc["non-linearity", "spearman"] == pytest.approx(1)
    assert frame.loc["non-linearity", "change"] == pytest.approx(relative_error(exact, true))


@pytest.mark.parametrize("name", ["digits-logreg", "digits-mlp"])
def test_the_omitted_terms_are_within_their_bound(name):
    workload = small(name, rho=0.01, learning_rate=0.05)
    frame = omitted_bound(workload, (1, 2, 5, 20)).set_index("last")
    assert (frame["omitted"] <= frame["bound"]).all()
    assert (frame["omitted"] > 0).all()
    assert frame["bound"].is_monotonic_increasing
    assert frame.loc[1, "bound"] < 1


def test_of_one_step_without_a_perturbation_nothing_is_omitted():
    frame = omitted_bound(small(rho=0.0), (1,))
    assert frame["omitted"].iloc[0] == pytest.approx(0, abs=1e-12)
    assert frame["bound"].iloc[0] == 0


@pytest.mark.parametrize("settings", [{"momentum": 0.9}, {"p": 3.0}])
def test_the_bound_is_refused_where_it_was_not_derived(settings):
    with pytest.raises(sr.SamattrError, match="p = 2 without momentum"):
        omitted_bound(small(**settings), (1,))


def test_flips_are_counted_and_move_the_perturbation():
    workload = small(p=math.inf, rho=0.01, steps=200, n_removed=8)
    frame = sign_flips(workload, ("sam-if", "sam-hif"), 5)
    assert len(frame) == 10
    run = sr.train(workload)
    truth = baselines.leave_one_out(run)
    own = frame[frame["method"] == "sam-if"].set_index("point")
    g = run.gradient(run.parameters)
    for group, omega in list(zip(truth.groups, truth.parameters, strict=True))[:5]:
        k = int(group)
        weights = torch.ones(run.n_train, dtype=torch.float64)
        weights[k] = 0
        leaf = omega.clone().requires_grad_()
        after = torch.autograd.grad(run.objective.loss(leaf, run.train.x, run.train.y, weights), leaf)[0]
        flipped = int((after.sign() != g.sign()).sum())
        assert own.loc[k, "flips"] == pytest.approx(flipped / len(g))
        size = float((omega - run.parameters).norm())
        assert own.loc[k, "shift"] == pytest.approx(2 * 0.01 * math.sqrt(flipped) / size)  # p = ∞: 2ρ a coordinate
    assert perturbation(g, 0.01, math.inf).abs().max() == pytest.approx(0.01)


def test_lds_and_agreement_are_near_one_for_the_exact_derivative():
    frame = fidelity(small("digits-mlp", hidden=(6,)), ["sam-unrolled", "random"], (0.05, 0.2), 12).set_index("method")
    assert (frame.loc["sam-unrolled", ["spearman", "lds_0.05", "lds_0.2"]] > 0.9).all()
    assert (frame.loc["random", ["spearman", "lds_0.05", "lds_0.2"]].abs() < 0.5).all()
    assert (frame["trainings"] > 0).all()


def test_a_method_that_fails_is_a_row_that_says_why():
    frame = fidelity(small(), ["sam-gif"], (), 0, {"sam-gif": {"checkpoints": 500}})
    assert "number of steps" in frame["status"].iloc[0]


def test_another_training_seed_is_the_same_points_trained_anew():
    workload = small()
    again = workload.override(training_seed=5)
    assert again.splits.digest == workload.splits.digest
    one, other = sr.train(workload), sr.train(again)
    assert one.key != other.key
    assert not torch.equal(one.checkpoints[0], other.checkpoints[0])
    assert not torch.equal(one.batches, other.batches)
    assert workload.override(training_seed=0).key() == workload.key()
    effects = [baselines.leave_one_out(run).values.numpy() for run in (one, other)]
    assert np.corrcoef(effects[0].ravel(), effects[1].ravel())[0, 1] > 0.5
