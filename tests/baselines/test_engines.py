"""Batched retraining against one-at-a-time, against a loop in plain PyTorch, and its speed beside that loop."""

import shutil
import signal
import threading
import time
from dataclasses import dataclass, replace

import pytest
import torch

import samattr_ref as sr
from baselines import engines
from baselines.engines import retrain
from baselines.truth import leave_one_out
from tests.conftest import small, small_cnn

GROUPS = [torch.tensor(group, dtype=torch.int64) for group in ([], [0], [17], [3, 4, 5, 30], list(range(40)))]


def plain_retraining(run, group):
    """The run again as a user writes it in plain PyTorch: a parameter list, autograd, foreach updates."""
    objective, _ = run.workload.build()
    parameters = [parameter.requires_grad_() for parameter in objective.module.parameters()]
    recipe = run.workload.recipe
    present = torch.ones(run.n_train).to(run.parameters)
    present[group] = 0
    velocity = [torch.zeros_like(parameter) for parameter in parameters]

    def gradients(batch):
        losses = torch.nn.functional.cross_entropy(
            objective.module(run.train.x[batch]), run.train.y[batch], reduction="none"
        )
        loss = (present[batch] * losses).sum() / len(batch)
        grads = list(torch.autograd.grad(loss, parameters))
        torch._foreach_add_(grads, [parameter.detach() for parameter in parameters], alpha=recipe.weight_decay)
        return grads

    for t, eta in enumerate(run.step_sizes.tolist()):
        batch = run.batch(t)
        e = gradients(batch)
        with torch.no_grad():
            torch._foreach_mul_(e, recipe.rho / float(torch.stack(torch._foreach_norm(e)).norm()))
            torch._foreach_add_(parameters, e)
        G = gradients(batch)
        with torch.no_grad():
            torch._foreach_sub_(parameters, e)
            torch._foreach_mul_(velocity, recipe.momentum)
            torch._foreach_add_(velocity, G)
            torch._foreach_add_(parameters, velocity, alpha=-eta)
    return torch.cat([parameter.detach().reshape(-1) for parameter in parameters])


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.9}, {"batch_size": None}, {"p": 3.0}, {"p": float("inf")}])
@pytest.mark.parametrize("make", [small, small_cnn])
def test_batched_loop_and_plain_pytorch_agree(make, settings):
    run = sr.train(make(n_train=50, **settings))
    batched, looped = retrain(run, GROUPS, "batched"), retrain(run, GROUPS, "loop")
    torch.testing.assert_close(batched, looped, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(batched[0], run.parameters, rtol=1e-10, atol=1e-12)
    if make is small:
        torch.testing.assert_close(retrain(run, GROUPS, "stacked", together=2), looped, rtol=1e-10, atol=1e-12)
    if run.workload.recipe.p == 2:
        for row, group in zip(batched, GROUPS, strict=True):
            torch.testing.assert_close(row, plain_retraining(run, group), rtol=1e-10, atol=1e-12)
    assert (batched[1:] - batched[0]).abs().amax(1).min() > 1e-6


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles by g++, which is not here")
@pytest.mark.parametrize("settings", [{"momentum": 0.9}, {"variant": "friendly-sam"}])
def test_a_compiled_step_is_the_same_step(settings):
    """With a short last batch and a program that is not full."""
    run = sr.train(small("digits-mlp", n_train=50, steps=8, **settings))
    compiled = retrain(run, GROUPS, "compiled", together=3)
    torch.testing.assert_close(compiled, retrain(run, GROUPS, "loop"), rtol=1e-10, atol=1e-12)


def test_what_does_not_stack_is_refused():
    with pytest.raises(sr.SamattrError, match="does not stack: use the engine batched"):
        retrain(sr.train(small_cnn()), GROUPS[:1], "stacked")
    with pytest.raises(sr.SamattrError, match="does not stack"):
        leave_one_out(sr.train(small(variant="esam")), "compiled")
    with pytest.raises(sr.SamattrError, match="did you mean 'stacked'"):
        leave_one_out(sr.train(small(n_train=61)), "staked")


@pytest.mark.parametrize("make", [small, small_cnn])
def test_float32_agrees_to_its_precision(make):
    run = sr.train(make(n_train=50, dtype="float32", momentum=0.9))
    batched, looped = retrain(run, GROUPS, "batched"), retrain(run, GROUPS, "loop")
    assert (batched - looped).norm() < 1e-4 * looped.norm()


@dataclass(frozen=True)
class Relabelled:
    """Another data source's sets with one training label moved on by one class."""

    source: sr.Digits
    point: int

    def load(self, seed: int):
        splits = self.source.load(seed)
        labels = splits.train.y.clone()
        labels[self.point] = (labels[self.point] + 1) % 10
        return replace(splits, train=sr.Examples(splits.train.x, labels))


@pytest.mark.slow
def test_a_removed_point_cannot_matter():
    """The retraining without a point is the same whatever that point's label was."""
    workload, group = small(), [torch.tensor([11])]
    run = sr.train(workload)
    other = sr.train(replace(workload, data=Relabelled(workload.data, 11)))
    assert not torch.equal(run.parameters, other.parameters)
    assert torch.equal(retrain(run, group), retrain(other, group))


@pytest.mark.parametrize("engine", ["stacked", "batched", "loop"])
def test_where_memory_runs_out_fewer_networks_run_together(monkeypatch, engine):
    run = sr.train(small(n_train=50))
    whole = retrain(run, GROUPS, engine)
    step, sizes = engines.step_of, []

    def short(run, engine):
        def tried(batch, state, eta, draw):
            sizes.append(len(state.omega))
            if len(state.omega) > 2:
                raise torch.OutOfMemoryError("out of memory")
            return step(run, engine)(batch, state, eta, draw)

        return tried

    monkeypatch.setattr(engines, "step_of", short)
    torch.testing.assert_close(retrain(run, GROUPS, engine), whole, rtol=1e-10, atol=1e-12)
    assert max(sizes) == (1 if engine == "loop" else 5)


def test_an_interruption_waits_for_no_whole_run(monkeypatch):
    """What other threads are at ends with the step that they are at."""
    monkeypatch.setattr(engines, "workers", lambda run, engine: 2)
    run = sr.train(small(n_train=50, steps=400))
    step, taken = engines.step_of, []

    def counted(run, engine):
        def one(batch, state, eta, draw):
            taken.append(threading.get_ident())
            if len(taken) == 20:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            return step(run, engine)(batch, state, eta, draw)

        return one

    monkeypatch.setattr(engines, "step_of", counted)
    with pytest.raises(KeyboardInterrupt):
        retrain(run, GROUPS, "loop")
    assert len(set(taken)) == 2 and len(taken) < 100


@pytest.mark.slow
@pytest.mark.timing
def test_exact_loo_of_500_points_against_the_plain_loop(fresh_store):
    run = sr.train(sr.load_workload("digits-mlp"))
    retrain(run, GROUPS[:2], "stacked")
    began = time.perf_counter()
    truth = leave_one_out(run)
    together = time.perf_counter() - began
    assert len(truth.groups) == 500
    plain_retraining(run, torch.tensor([0]))
    seconds = []
    for k in range(5):
        began = time.perf_counter()
        row = plain_retraining(run, torch.tensor([k]))
        seconds.append(time.perf_counter() - began)
        assert (row - truth.parameters[k]).norm() < 1e-3 * row.norm()
    ratio = 500 * sorted(seconds)[2] / together
    print(f"exact LOO of 500 points: {ratio:.1f} times faster than the plain loop, without compilation")
    assert ratio > 10  # 25 and more on a quiet machine
