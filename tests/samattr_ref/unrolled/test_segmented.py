"""The run as segments of constant curvature: its two limits, plain loops, and the point of it."""

import pytest
import torch

import baselines
import samattr_ref as sr
from baselines import metrics
from samattr_ref.unrolled.segmented import reverse_segments
from tests.conftest import small


def test_a_segment_a_step_is_the_exact_derivative():
    """Full batches without momentum, a segment for every step and the exact Hessian: nothing is approximated."""
    run = sr.train(small("digits-mlp", hidden=(6,), batch_size=None, steps=8))
    found = reverse_segments(run, run.query_gradients(run.workload.queries), 8, "hessian").values
    exact = sr.attribute(run, "sam-unrolled").values
    torch.testing.assert_close(found, exact, rtol=1e-8, atol=1e-12)


@pytest.mark.slow
def test_one_long_segment_is_the_implicit_form():
    run = sr.train(small(batch_size=None, rho=0.05, steps=1000, learning_rate=0.5, weight_decay=0.3))
    found = sr.attribute(run, "sam-unrolled", checkpoints=1).values
    middle = sr.train(run.workload, 1)
    assert middle.checkpoint_steps.tolist() == [0, 499]
    implicit = sr.attribute(run, "sam-hif-implicit", curvature="gauss-newton").values
    assert (found - implicit).norm() < 0.1 * implicit.norm()


def test_products_and_the_matrix_give_the_same(monkeypatch):
    run = sr.train(small("digits-mlp", hidden=(6,), steps=10))
    dense = sr.attribute(run, "sam-unrolled", checkpoints=3).values
    monkeypatch.setattr("samattr_ref.solvers.solve.DENSE_LIMIT", 1)
    torch.testing.assert_close(sr.attribute(run, "sam-unrolled", checkpoints=3).values, dense, rtol=1e-8, atol=1e-12)


@pytest.mark.slow
def test_from_the_same_checkpoints_it_ranks_better_than_gif():
    run = sr.train(sr.load_workload("digits-mlp").override(n_train=100, hidden=(12,), steps=200, n_removed=40), 10)
    truth = baselines.leave_one_out(run)
    true = truth.values.cpu().numpy()
    found = {
        name: metrics.spearman_per_query(
            sr.attribute(run, name, checkpoints=10).values[truth.removed].cpu().numpy(), true
        ).mean()
        for name in ("sam-gif", "sam-unrolled")
    }
    assert found["sam-unrolled"] > found["sam-gif"] + 0.3


def test_it_takes_no_other_options():
    with pytest.raises(sr.SamattrError, match="either checkpoints or last"):
        sr.attribute(sr.train(small()), "sam-unrolled", checkpoints=2, last=3)
