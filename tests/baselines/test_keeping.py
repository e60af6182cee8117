"""Ground truth that is kept part by part, on one machine and then on another."""

import logging
from dataclasses import replace

import pytest
import torch

import baselines
import samattr_ref as sr
from baselines import keeping, kept
from baselines.keeping import joined, keep_in_parts, verify_kept
from baselines.kept import find, keep
from baselines.truth import random_subsets, single_points, single_points_name, subset_retraining, subsets_name
from samattr_ref.support import store
from tests.conftest import small

WORKLOAD = small(n_removed=12)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "FOLDER", tmp_path / "kept")
    return tmp_path / "kept"


def elsewhere(tmp_path, monkeypatch):
    """Another machine: nothing is in its store."""
    monkeypatch.setenv("SAMATTR_STORE", str(tmp_path / "elsewhere"))
    return sr.train(WORKLOAD)


def test_what_is_interrupted_is_gone_on_with_on_another_machine(folder, fresh_store, tmp_path, monkeypatch, caplog):
    run = sr.train(WORKLOAD)
    groups, kind = single_points(run), single_points_name(run.workload)
    retrain, calls = keeping.retraining_truth, []

    def interrupted(run, part, engine):
        calls.append(len(part))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return retrain(run, part, engine)

    monkeypatch.setattr(keeping, "retraining_truth", interrupted)
    with pytest.raises(KeyboardInterrupt):
        keep_in_parts(run, kind, groups, folder)
    assert calls == [5, 5]
    run = elsewhere(tmp_path, monkeypatch)
    with caplog.at_level(logging.WARNING, "samattr"):
        full = baselines.leave_one_out(run)
    assert full.kept is None
    assert "5 of 12 groups" in caplog.text
    store_of_full = store.folder("truth", "x").parent
    for path in store_of_full.rglob("plan.json"):
        path.unlink()
    path, retrained = keep_in_parts(run, kind, groups, folder)
    assert retrained == 7
    assert calls[2:] == [5, 2]
    assert path.exists()
    found = baselines.leave_one_out(run)
    assert found.kept is not None
    assert [group.tolist() for group in found.groups] == [group.tolist() for group in full.groups]
    for queries in (run.splits.queries, run.splits.tuning, run.splits.validation.pool()):
        torch.testing.assert_close(found.effects(queries), full.effects(queries), rtol=0, atol=1e-12)
    assert keep_in_parts(run, kind, groups, folder) == (path, 0)


def test_a_truth_that_is_made_already_is_kept_as_it_is(folder, fresh_store, monkeypatch):
    run = sr.train(WORKLOAD)
    full = subset_retraining(run, 0.1, 12, seed=1)
    parts = []
    retrain = keeping.retraining_truth
    monkeypatch.setattr(
        keeping, "retraining_truth", lambda run, part, engine: parts.append(len(part)) or retrain(run, part, engine)
    )
    keep_in_parts(run, subsets_name(0.1, 12, 1), random_subsets(run, 0.1, 12, 1), folder)
    assert parts == [12]
    monkeypatch.setattr("baselines.truth.is_made", lambda *_: False)
    found = subset_retraining(run, 0.1, 12, seed=1)
    torch.testing.assert_close(found.values, full.values, rtol=0, atol=1e-12)
    assert found.record == full.record


def test_the_truth_of_a_run_that_ended_elsewhere_is_not_written_over(folder, fresh_store, monkeypatch):
    run = sr.train(WORKLOAD)
    groups, kind = single_points(run), single_points_name(run.workload)
    path, _ = keep_in_parts(run, kind, groups, folder)
    before = path.read_bytes()
    moved = 1.1 * run.query_losses(run.splits.queries)
    monkeypatch.setattr(sr.Run, "digest", "of another run")
    monkeypatch.setattr(sr.Run, "query_losses", lambda *_: moved)
    with pytest.raises(sr.SamattrError, match="ended elsewhere: keep this one in another folder"):
        keep_in_parts(run.fresh(), kind, groups, folder)
    assert path.read_bytes() == before


def test_a_random_part_of_a_kept_truth_is_made_again_and_compared(folder, monkeypatch):
    run = sr.train(WORKLOAD)
    kind = single_points_name(run.workload)
    keep_in_parts(run, kind, single_points(run), folder)
    found = verify_kept(run, kind, folder, seed=1)
    assert len(found.groups) == len(set(found.groups)) == 5
    assert found.error < 1e-9 and found.apart == 0
    assert verify_kept(run, kind, folder, seed=2).groups != found.groups
    kept = find(run, kind, folder)
    losses = {**kept.losses, "queries": kept.losses["queries"].clone()}
    losses["queries"][1 + found.groups[0]] += 1e-4
    keep(run, kind, replace(kept, losses=losses), folder)
    with pytest.raises(sr.SamattrError, match="says other effects than retraining") as raised:
        verify_kept(run, kind, folder, seed=1)
    assert "\n" not in str(raised.value)
    with pytest.raises(sr.SamattrError, match=r"no truth 'subsets-0.1-5-0' of .* is kept for this run"):
        verify_kept(run, "subsets-0.1-5-0", folder)


def test_parts_of_other_machines_keep_their_effects_and_add_their_seconds():
    def part(base, effects, seconds):
        losses = {"queries": torch.tensor([[base], *([base + effect] for effect in effects)])}
        groups = [torch.tensor([i]) for i in range(len(effects))]
        record = {"seconds": seconds, "load": seconds / 5, "disturbed": True, "peak_memory_bytes": 100 * seconds}
        return kept.Kept(groups, losses, seconds / 10, record)

    both = joined(part(1.0, [0.5, -0.25], 3), part(1.5, [0.125], 2))
    assert both.losses["queries"][:, 0].tolist() == [1.0, 1.5, 0.75, 1.125]
    assert len(both.groups) == 3
    assert both.record == {"seconds": 5, "load": pytest.approx(0.52), "disturbed": True, "peak_memory_bytes": 300}
    before = part(1.5, [0.125], 2)
    del before.record["load"], before.record["disturbed"]  # of before it was measured
    unknown = joined(part(1.0, [0.5, -0.25], 3), before).record
    assert (unknown["seconds"], unknown["load"], unknown["disturbed"]) == (5, None, None)
    assert both.replay_error == pytest.approx(0.3)
