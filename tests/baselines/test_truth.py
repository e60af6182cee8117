"""Ground truth: its values, its storage, and going on after SIGKILL."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

import baselines
import samattr_ref as sr
from baselines import engines
from baselines.measure import Cost
from baselines.planning import Plan
from baselines.truth import removed_points
from tests.conftest import small


def test_values_are_differences_of_query_losses():
    run = sr.train(small())
    truth = baselines.leave_one_out(run)
    queries = run.workload.queries
    for k in (0, 31):
        (without,) = baselines.retrain(run, [torch.tensor([k])], "loop")
        losses = torch.nn.functional.cross_entropy(
            run.objective.logits(without, queries.x), queries.y, reduction="none"
        )
        before = torch.nn.functional.cross_entropy(
            run.objective.logits(run.parameters, queries.x), queries.y, reduction="none"
        )
        torch.testing.assert_close(truth.values[k], losses - before, rtol=1e-8, atol=1e-12)
    assert truth.removed.tolist() == list(range(run.n_train))
    assert truth.replay_error < 1e-12
    torch.testing.assert_close(truth.effects(queries.pool())[:, 0], truth.values.mean(1))


def test_the_sign_says_what_removal_does():
    """A query that is itself a training point is hurt by that point's removal."""
    run = sr.train(small())
    truth = baselines.leave_one_out(run)
    own = truth.effects(run.train).diagonal()
    assert (own > 0).float().mean() > 0.95
    for name in ("if", "sam-if", "sam-hif-implicit", "sam-gif", "tracin", "grad-dot"):
        assert (sr.attribute(run, name, run.train).values.diagonal() > 0).float().mean() > 0.95


def test_some_points_only():
    run = sr.train(small(n_removed=9))
    truth = baselines.leave_one_out(run)
    assert truth.values.shape == (9, 7)
    assert truth.removed.tolist() == removed_points(run) == sorted(set(removed_points(run)))
    full = baselines.leave_one_out(sr.train(small()))
    torch.testing.assert_close(truth.values, full.values[truth.removed], rtol=1e-9, atol=1e-12)


def test_half_of_the_removed_points_may_be_drawn_where_points_matter():
    run = sr.train(small(n_train=200, n_removed=20, removed="stratified"))
    removed = torch.tensor(removed_points(run))
    assert len(removed.unique()) == 20
    norms = run.objective.sample_gradients(run.parameters, run.train.x, run.train.y).norm(dim=1)
    largest = norms.topk(2).indices.cpu()
    wrong = run.splits.noisy[removed]
    assert wrong.sum() >= 5
    assert set(largest[~run.splits.noisy[largest]].tolist()) <= set(removed.tolist())
    none = sr.train(small(n_train=200, n_removed=20, removed="stratified", noise=None))
    assert len(set(removed_points(none))) == 20
    with pytest.raises(sr.SamattrError, match="unknown draw of removed points 'by-hand'"):
        small(removed="by-hand")


def test_what_retrainings_share_with_the_run_is_not_run_again(monkeypatch):
    run = sr.train(small(steps=6, n_train=200, batch_size=20))
    last, never = int(run.batch(5)[0]), next(k for k in range(200) if not (run.batches == k).any())
    groups = [[last], [int(run.batch(0)[0])], [never], [last, int(run.batch(3)[0])]]
    assert engines.first_steps(run, [torch.tensor(group) for group in groups]) == [5, 0, 6, 3]
    walked = []
    walk = engines._walk
    monkeypatch.setattr(engines, "_walk", lambda *arguments: walked.append(arguments[3]) or walk(*arguments))
    truth = baselines.retraining_truth(run, groups, engine="loop")
    assert sorted(steps.start for steps in walked if steps.stop == 6) == [0, 0, 3, 5, 6]
    whole = baselines.retrain(run, [torch.tensor(group) for group in groups], "batched")
    torch.testing.assert_close(truth.parameters, whole, rtol=1e-10, atol=1e-12)
    assert torch.equal(truth.parameters[2], run.parameters)


def test_subsets():
    run = sr.train(small())
    truth = baselines.subset_retraining(run, fraction=0.1, count=4)
    assert [len(group) for group in truth.groups] == [6] * 4
    assert len({tuple(group.tolist()) for group in truth.groups}) == 4
    assert truth.values.shape == (4, 7)
    with pytest.raises(sr.SamattrError, match="removes groups"):
        _ = truth.removed
    for fraction in (0.0, 1.0):
        with pytest.raises(sr.SamattrError, match="cannot be left out"):
            baselines.subset_retraining(run, fraction=fraction, count=4)


def test_seconds_have_the_load_of_every_chunk(fresh_store, monkeypatch):
    """Chunks that took 1, 2, … seconds, with loads that grow; the ground truth's own row of a table says the same."""
    took = iter(range(1, 100))

    def measured(call, tries):
        assert tries == 1  # what takes hours is not made again
        seconds = next(took)
        return call(), Cost(float(seconds), 0.1 * seconds, 2**20)

    monkeypatch.setattr("baselines.truth.measured", measured)
    monkeypatch.setattr("baselines.truth.plan_retraining", lambda *_: Plan("loop", 20, together=1))
    truth = baselines.leave_one_out(sr.train(small(n_train=40, steps=5)))  # 41 with the empty group: 3 chunks
    assert truth.record["seconds"] == 6.0
    assert truth.record["load"] == pytest.approx((1 * 0.1 + 2 * 0.2 + 3 * 0.3) / 6)
    assert truth.record["disturbed"] is True
    result = baselines.validate("loo", truth.run.workload)
    assert (result.runtime_s, result.load, result.disturbed) == (6.0, truth.record["load"], True)


@pytest.mark.parametrize("groups", [[], [[60]], [[-1]], [[2, 2]]])
def test_groups_that_do_not_fit_are_refused(groups):
    with pytest.raises(sr.SamattrError):
        baselines.retraining_truth(sr.train(small()), groups)


@pytest.mark.slow
def test_chunk_and_engine_change_nothing_but_rounding(fresh_store, monkeypatch):
    run = sr.train(small())
    whole = baselines.leave_one_out(run)
    values = []
    for chunk, engine in ((7, "batched"), (13, "loop"), (24, "stacked")):
        monkeypatch.setenv("SAMATTR_STORE", str(fresh_store / f"{chunk}"))
        plan = Plan(engine, chunk, together=8)
        monkeypatch.setattr("baselines.truth.plan_retraining", lambda *_, plan=plan: plan)
        values.append(baselines.leave_one_out(run).values)
        assert len(list((fresh_store / f"{chunk}").rglob("chunk-*.json"))) == -(-61 // chunk)
    for found in values:
        torch.testing.assert_close(found, whole.values, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("ending", ["safetensors", "json"])
def test_a_damaged_chunk_is_named(fresh_store, ending):
    run = sr.train(small())
    baselines.leave_one_out(run)
    (path,) = fresh_store.rglob(f"chunk-00000.{ending}")
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(sr.SamattrError, match="chunk-00000 is damaged"):
        baselines.leave_one_out(run)


def test_a_run_that_does_not_repeat_itself_is_refused(fresh_store, monkeypatch):
    run = sr.train(small())
    monkeypatch.setattr("baselines.truth.retrain", lambda run, groups, *plan: torch.zeros(len(groups), 650).double())
    with pytest.raises(sr.SamattrError, match="does not repeat itself"):
        baselines.leave_one_out(run)


def test_a_retraining_that_diverges_is_marked_and_its_neighbours_are_used(fresh_store, monkeypatch, caplog):
    run = sr.train(small())
    whole = baselines.leave_one_out(run)
    monkeypatch.setenv("SAMATTR_STORE", str(fresh_store / "another"))
    step_of = engines.step_of

    def spoiled(run, engine):
        def step(batch, state, eta, draw):
            after = step_of(run, engine)(batch, state, eta, draw)
            gone = (batch.weights == 0).any(1) & (batch.weights.shape[0] > 1)
            first = gone.nonzero()[:1, 0]  # the first network of a program that misses a point of the batch
            omega = after.omega.clone()
            omega[first] = torch.nan
            return after._replace(omega=omega)

        return step

    monkeypatch.setattr(engines, "step_of", spoiled)
    with caplog.at_level("WARNING", "samattr"):
        found = baselines.leave_one_out(run)
    lost = [points for (points,) in found.record["diverged"]]
    assert 0 < len(lost) < 30 and f"{len(lost)} of 60 retrainings of digits-logreg diverged" in caplog.text
    assert sorted([*lost, *found.removed.tolist()]) == list(range(60))
    assert torch.equal(found.values, whole.values[found.removed])
    monkeypatch.undo()
    monkeypatch.setenv("SAMATTR_STORE", str(fresh_store / "another"))
    again = baselines.leave_one_out(sr.train(small()))
    assert torch.equal(again.values, found.values) and again.record["diverged"] == found.record["diverged"]
    validated = baselines.validate("tracin-cp", small())
    assert validated.n_removed == 60 - len(lost)


def test_where_every_retraining_diverges_there_is_no_truth(fresh_store, monkeypatch):
    run = sr.train(small())
    nothing = torch.full((1, 650), torch.nan).double()
    monkeypatch.setattr(
        "baselines.truth.retrain",
        lambda run, groups, *plan: torch.cat([run.parameters[None] if len(g) == 0 else nothing for g in groups]),
    )
    with pytest.raises(sr.SamattrError, match="every retraining of digits-logreg diverged"):
        baselines.leave_one_out(run)


COMMAND = [sys.executable, "-m", "reports.cli", "truth", "digits-mlp", "--set", "steps=150", "--json"]


@pytest.mark.slow
def test_sigkill_in_the_middle_loses_nothing(tmp_path):
    def environment(name):
        return {**os.environ, "SAMATTR_STORE": str(tmp_path / name)}

    undisturbed = json.loads(subprocess.check_output(COMMAND, env=environment("undisturbed")))
    process = subprocess.Popen(COMMAND, env=environment("killed"), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").rglob("chunk-00000.json")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").rglob("chunk-*.*")}
    n_chunks = len(list((tmp_path / "undisturbed").rglob("chunk-*.json")))
    assert 2 <= len(before) < 2 * n_chunks
    resumed = json.loads(subprocess.check_output(COMMAND, env=environment("killed")))
    assert resumed["sha256"] == undisturbed["sha256"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
