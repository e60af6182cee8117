"""The derivative of the whole run against retraining, reverse against forward mode, bounded memory against none."""

from dataclasses import replace

import pytest
import torch

import samattr_ref as sr
from samattr_ref.network.objective import Linearised
from samattr_ref.sam.step import Batch, first_state, sam_step
from samattr_ref.trajectory import reversed_states
from samattr_ref.unrolled.derivative import forward, reverse
from tests.conftest import small, small_cnn

WORKLOADS = {
    "logreg": lambda **s: small("digits-logreg", **s),
    "mlp": lambda **s: small("digits-mlp", **s),
    "cnn": small_cnn,
    "augmented": lambda **s: small_cnn(augmentation=sr.FlipAndShift(shift=1), **s),
}


def retrained(run, weights):
    """ω_T of the run with the given weights of its training points, a plain loop over the one step function."""
    rule = run.workload.recipe.rule
    state = first_state(run.checkpoints[0], rule)
    for t in range(run.n_steps):
        points = run.batch(t)
        x = run.workload.inputs(run.train.x[points], t)
        batch = Batch(run.objective, x, run.train.y[points], weights[points])
        state = sam_step(batch, state, float(run.step_sizes[t]), rule, run.draw(t))
    return state.omega


def central_difference(run, point, epsilon):
    """−dω_T/dw_k from two real retrainings with the weight of point k at 1 ± ε."""
    up, down = (torch.ones(run.n_train).to(run.parameters) for _ in range(2))
    up[point], down[point] = 1 + epsilon, 1 - epsilon
    return (retrained(run, down) - retrained(run, up)) / (2 * epsilon)


def derivative(run, point, p):
    """The central difference at ε = 1e-4; for p ≠ 2, whose ê has large third derivatives, extrapolated to ε = 0."""
    coarse = central_difference(run, point, 1e-4)
    return coarse if p == 2 else (4 * central_difference(run, point, 5e-5) - coarse) / 3


@pytest.mark.parametrize("p", [2.0, 3.0])
@pytest.mark.parametrize(
    "settings", [{"momentum": 0.0}, {"momentum": 0.9, "schedule": "cosine", "warmup": 3}, {"batch_size": None}]
)
@pytest.mark.parametrize("kind", WORKLOADS)
def test_scores_are_central_differences_of_retraining(kind, settings, p):
    run = sr.train(WORKLOADS[kind](p=p, steps=12, learning_rate=0.1, **settings))
    scores = sr.attribute(run, "sam-unrolled").values
    gradients = run.query_gradients(run.workload.queries)
    points = [3, 17, 31]
    expected = torch.stack([gradients @ derivative(run, k, p) for k in points])
    assert (scores[points] - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, float("inf")])
@pytest.mark.parametrize("rho", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["mlp", "augmented"])
def test_forward_and_reverse_agree(kind, p, rho):
    run = sr.train(WORKLOADS[kind](p=p, rho=rho, momentum=0.7))
    groups = [torch.tensor([k]) for k in range(7)]
    change = sr.parameter_change(run, "sam-unrolled", groups)
    scores = sr.attribute(run, "sam-unrolled").values[:7]
    expected = change @ run.query_gradients(run.workload.queries).T
    assert (scores - expected).abs().max() < 1e-10 * expected.abs().max()
    together = sr.parameter_change(run, "sam-unrolled", [range(7)])[0]
    assert (together - change.sum(0)).abs().max() < 1e-10 * together.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("kind", WORKLOADS)
@pytest.mark.parametrize("held", [1, 2, 3, 5, 100])
def test_bounded_memory_gives_the_same_bits(kind, held):
    workload = WORKLOADS[kind](momentum=0.9, steps=23)
    every, few = sr.train(workload, "all"), sr.train(workload, "sqrt")
    assert len(few.checkpoints) < 8
    bytes_a_state = 2 * every.parameters.numel() * 8
    bounded = list(reversed_states(few, 4, held * bytes_a_state))
    assert [t for t, _ in bounded] == list(range(22, 3, -1))
    assert all(torch.equal(state.omega, every.checkpoints[t]) for t, state in bounded)
    assert all(torch.equal(state.velocity, every.velocities[t]) for t, state in bounded)
    directions = every.query_gradients(every.workload.queries)
    exact = sr.attribute(every, "sam-unrolled").values
    assert torch.equal(reverse(few, directions, 0, held * bytes_a_state).values, exact)


def test_a_bound_is_kept(monkeypatch):
    """No more states are held than the bound has room for, in a run that keeps its first state alone."""
    run = sr.train(small(steps=60), 1)
    run = replace(run, checkpoint_steps=run.checkpoint_steps[:1], checkpoints=run.checkpoints[:1])
    alive = set()

    class Counted:
        def __init__(self, t):
            self.t = t
            alive.add(t)

        def __del__(self):
            alive.discard(self.t)

    held = []

    def counted(_run, _state, start, stop):
        return ((t, Counted(t)) for t in range(start, stop + 1))

    monkeypatch.setattr("samattr_ref.trajectory.advance", counted)
    for bound in (2, 4, 8):
        most = 0
        for _, _state in reversed_states(run, 0, bound * run.parameters.numel() * 8):
            most = max(most, len(alive))
        held.append(most)
    assert all(most <= bound + 2 for most, bound in zip(held, (2, 4, 8), strict=True))  # the current one, and the next


def test_many_queries_are_carried_like_one():
    run = sr.train(small("digits-mlp"))
    queries = run.workload.queries
    together = sr.attribute(run, "sam-unrolled").values
    alone = torch.cat([sr.attribute(run, "sam-unrolled", queries.take(torch.tensor([i]))).values for i in range(7)], 1)
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-14)
    mean = sr.attribute(run, "sam-unrolled", queries.pool()).values
    torch.testing.assert_close(mean[:, 0], together.mean(1), rtol=1e-10, atol=1e-14)


def test_without_hessian_terms_it_is_gif(monkeypatch):
    run = sr.train(small("digits-mlp", momentum=0.8))
    along = Linearised.along
    monkeypatch.setattr(Linearised, "along", lambda self, u: (torch.zeros_like(u), along(self, u)[1]))
    found = reverse(run, run.query_gradients(run.workload.queries)).values
    torch.testing.assert_close(found, sr.attribute(run, "sam-gif").values, rtol=1e-9, atol=1e-13)


def test_the_last_steps_alone():
    run = sr.train(small("digits-mlp", steps=20))
    gradients = run.query_gradients(run.workload.queries)
    whole, last = reverse(run, gradients), reverse(run, gradients, 15)
    assert last.omega.equal(run.checkpoints[15])
    before = replace(
        run, parameters=last.omega, step_sizes=run.step_sizes[:15], checkpoint_steps=run.checkpoint_steps[:15]
    )
    rest = reverse(before, last.adjoint).values
    torch.testing.assert_close(last.values + rest, whole.values, rtol=1e-9, atol=1e-13)
    scores = sr.attribute(run, "sam-unrolled", last=5)
    assert scores.values.equal(last.values)
    assert scores.diagnostics["steps"] == 5
    groups = [torch.tensor([k]) for k in range(run.n_train)]
    torch.testing.assert_close(forward(run, groups, 15) @ gradients.T, last.values, rtol=1e-9, atol=1e-13)


def test_a_tail_stands_for_the_run_before():
    """On a long run of a strongly convex problem, the last steps with a tail come close to the whole."""
    run = sr.train(small(steps=400, weight_decay=0.1, schedule="cosine", rho=0.02))
    whole = sr.attribute(run, "sam-unrolled").values
    errors = {
        tail: (sr.attribute(run, "sam-unrolled", last=100, tail_damping=tail).values - whole).norm() / whole.norm()
        for tail in (None, 0.0)
    }
    assert errors[0.0] < 0.5 * errors[None]
    assert "residual" in sr.attribute(run, "sam-unrolled", last=100, tail_damping=0.0).diagnostics["tail"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"last": 0}, "from 1 to the number of steps, 40, not 0"),
        ({"last": 41}, "from 1 to the number of steps, 40, not 41"),
        ({"memory_bytes": 10}, "memory_bytes = 10 is too small"),
    ],
)
def test_bad_options_are_one_line(options, message):
    with pytest.raises(sr.SamattrError, match=message):
        sr.attribute(sr.train(small()), "sam-unrolled", **options)
    with pytest.raises(sr.SamattrError, match="without tail_damping and checkpoints"):
        sr.parameter_change(sr.train(small()), "sam-unrolled", [[0]], tail_damping=0.1)


@pytest.mark.parametrize("kind", WORKLOADS)
@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_where_all_points_weigh_less_it_is_the_derivative_of_retraining_there(kind, momentum):
    run = sr.train(WORKLOADS[kind](steps=12, learning_rate=0.1, momentum=momentum, weight_decay=0.02))
    weight, epsilon, k = 0.6, 1e-4, 17
    everywhere = torch.full((run.n_train,), weight).to(run.parameters)
    up, down = everywhere.clone(), everywhere.clone()
    up[k], down[k] = weight + epsilon, weight - epsilon
    change = (retrained(run, down) - retrained(run, up)) / (2 * epsilon)
    gradients = run.query_gradients(run.workload.queries, retrained(run, everywhere))
    scores = sr.attribute(run, "sam-unrolled", weight=weight).values[k]
    assert (scores - gradients @ change).norm() < 1e-5 * (gradients @ change).norm()
    assert (sr.parameter_change(run, "sam-unrolled", [[k]], weight=weight)[0] - change).norm() < 1e-5 * change.norm()


@pytest.mark.parametrize(("weight", "settings"), [(0.0, {}), (1.5, {}), (0.5, {"variant": "gsam"})])
def test_a_weight_that_has_no_run_is_one_line(weight, settings):
    run = sr.train(small(**settings))
    with pytest.raises(sr.SamattrError, match=r"weight must be in \(0, 1\], and 1 for a variant of SAM"):
        sr.attribute(run, "sam-unrolled", weight=weight)
