"""Trajectory methods against plain sums over the run, their segments, and finite differences where they are exact."""

import pytest
import torch

import samattr_ref as sr
from samattr_ref.sam.perturbation import perturbation
from samattr_ref.trajectory import effective_step_sizes, segments, states
from tests.conftest import small, small_cnn


def sample_gradient(run, omega, k):
    leaf = omega.clone().requires_grad_()
    loss = run.objective.sample_losses(leaf, run.train.x[k : k + 1], run.train.y[k : k + 1]).sum()
    return torch.autograd.grad(loss, leaf)[0]


def batch_gradient(run, omega, batch):
    return run.objective.eager_gradient(omega, run.train.x[batch], run.train.y[batch])


def plain_sum(run, perturbed, query_at_step):
    """Σ_t η_t/|b_t| ⟨∇ℓ_k at step t, ∇ℓ_q⟩, one point and step at a time."""
    queries = run.workload.queries
    scores = torch.zeros(run.n_train, len(queries)).to(run.parameters)
    recipe = run.workload.recipe
    for t in range(run.n_steps):
        omega, batch = run.checkpoints[t], run.batch(t)
        at = omega + perturbation(batch_gradient(run, omega, batch), recipe.rho, recipe.p) if perturbed else omega
        Q = run.query_gradients(queries, omega if query_at_step else run.parameters)
        for k in batch.tolist():
            scores[k] += run.step_sizes[t] / len(batch) * (Q @ sample_gradient(run, at, k))
    return scores


@pytest.mark.parametrize("make", [small, small_cnn])
@pytest.mark.parametrize(("name", "perturbed", "query_at_step"), [("sam-gif", True, False), ("tracin", False, True)])
def test_all_steps_agree_with_a_plain_sum(make, name, perturbed, query_at_step):
    run = sr.train(make(steps=7))
    expected = plain_sum(run, perturbed, query_at_step)
    torch.testing.assert_close(sr.attribute(run, name).values, expected, rtol=1e-9, atol=1e-12)


def test_gif_change_and_scores_are_one_formula():
    run = sr.train(small(momentum=0.5))
    for checkpoints in (None, 5):
        change = sr.parameter_change(run, "sam-gif", [[k] for k in range(run.n_train)], checkpoints=checkpoints)
        scores = sr.attribute(run, "sam-gif", checkpoints=checkpoints).values
        torch.testing.assert_close(change @ run.query_gradients(run.workload.queries).T, scores)
    pair = sr.parameter_change(run, "sam-gif", [[4, 9]])
    torch.testing.assert_close(pair[0], sr.parameter_change(run, "sam-gif", [[4], [9]]).sum(0))


def test_gif_is_exact_for_the_last_step():
    """Removing a point from the last step alone changes ω_T by exactly what GIF says, once ê is frozen."""
    run = sr.train(small(steps=1, rho=0.0, momentum=0.9))
    change = sr.parameter_change(run, "sam-gif", [[k] for k in range(run.n_train)])
    from baselines import retrain

    exact = retrain(run, [torch.tensor([k]) for k in range(run.n_train)]) - run.parameters
    torch.testing.assert_close(change, exact)


def test_as_many_segments_as_steps_are_the_steps():
    run = sr.train(small())
    for whole, cut in zip(segments(run, None, run.step_sizes), segments(run, run.n_steps, run.step_sizes), strict=True):
        assert whole.step == cut.step
        assert torch.equal(whole.omega, cut.omega)
        assert torch.equal(whole.weights, cut.weights)
    torch.testing.assert_close(
        sr.attribute(run, "tracin-cp", checkpoints=run.n_steps).values, sr.attribute(run, "tracin").values
    )


def test_segments_keep_the_whole_weight():
    run = sr.train(small(schedule="linear"))
    total = torch.zeros(run.n_train).to(run.parameters)
    for segment in segments(run, 7, run.step_sizes):
        total[segment.points] += segment.weights
    expected = torch.zeros(run.n_train).to(run.parameters)
    for t in range(run.n_steps):
        expected[run.batch(t)] += run.step_sizes[t] / len(run.batch(t))
    torch.testing.assert_close(total, expected)


@pytest.mark.parametrize("keep", [1, 3, "sqrt"])
@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_states_that_were_not_kept_come_back_bit_for_bit(keep, momentum):
    workload = small(momentum=momentum)
    full, sparse = sr.train(workload, checkpoints="all"), sr.train(workload, checkpoints=keep)
    assert len(sparse.checkpoints) < len(full.checkpoints)
    assert torch.equal(full.parameters, sparse.parameters)
    for t, state in states(sparse, range(0, full.n_steps, 3)):
        assert torch.equal(state.omega, full.checkpoints[t])
    assert torch.equal(sr.attribute(full, "sam-gif").values, sr.attribute(sparse, "sam-gif").values)


def test_effective_step_sizes_follow_the_buffer():
    run = sr.train(small(momentum=0.9, steps=30, batch_size=None, n_train=20))
    T, mu = run.n_steps, 0.9
    expected = [sum(float(run.step_sizes[s]) * mu ** (s - t) for s in range(t, T)) for t in range(T)]
    torch.testing.assert_close(effective_step_sizes(run), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "1 to the number of steps, 40"),
        (41, "1 to the number of steps, 40"),
        (2.5, "cannot be 2.5: it takes a whole number"),
        ("many", "cannot be 'many': it takes a whole number"),
    ],
)
def test_checkpoint_counts_out_of_range_are_refused(count, said):
    run = sr.train(small())
    with pytest.raises(sr.SamattrError, match=said):
        sr.attribute(run, "sam-gif", checkpoints=count)
