"""Ground truth that is kept as losses: the same effects, for the run that it belongs to and no other."""

import logging

import pytest
import torch

import baselines
import samattr_ref as sr
from baselines import kept, truth, validation
from baselines.keeping import keep_in_parts
from baselines.truth import single_points_name, subset_retraining, subsets_name
from tests.conftest import small


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "FOLDER", tmp_path)
    return tmp_path


def keep_truth(truth, kind, folder):
    path, retrained = keep_in_parts(truth.run, kind, truth.groups, folder)
    assert retrained == len(truth.groups)
    return path


@pytest.fixture
def never(monkeypatch):
    """Once this is called, no truth is stored, and whoever retrains fails."""

    def forbid():
        monkeypatch.setattr(truth, "is_made", lambda *_: False)
        monkeypatch.setattr(truth, "retraining_truth", lambda *_: pytest.fail("retrained"))

    return forbid


def test_what_is_kept_has_the_effects_of_the_truth(folder, never, monkeypatch):
    run = sr.train(small(n_removed=9))
    full, subsets = baselines.leave_one_out(run), subset_retraining(run, 0.1, 4, seed=2)
    path = keep_truth(full, single_points_name(run.workload), folder)
    keep_truth(subsets, subsets_name(0.1, 4, 2), folder)
    assert path.stat().st_size < 60_000
    never()
    for found, expected in (
        (baselines.leave_one_out(run), full),
        (subset_retraining(run, 0.1, 4, seed=2), subsets),
    ):
        assert [group.tolist() for group in found.groups] == [group.tolist() for group in expected.groups]
        for queries in (run.splits.queries, run.splits.tuning, run.splits.validation.pool()):
            torch.testing.assert_close(found.effects(queries), expected.effects(queries), rtol=0, atol=1e-12)
        assert found.record == expected.record
    torch.testing.assert_close(
        baselines.leave_one_out(run).influence, full.influence, equal_nan=True, rtol=0, atol=1e-12
    )
    assert torch.equal(baselines.leave_one_out(run).first_changes(5), full.changes[:5])
    monkeypatch.setattr(truth, "QUICK_SECONDS", 0)
    with pytest.raises(sr.SamattrError, match=r"losses of its own queries.* give an engine to leave_one_out") as raised:
        baselines.leave_one_out(run).effects(run.train)
    assert "\n" not in str(raised.value)
    with pytest.raises(sr.SamattrError, match="has the losses of its own queries"):
        baselines.leave_one_out(run).effects(run.splits.queries.of("margin"))
    monkeypatch.setattr(validation, "attribute", lambda *_, **__: pytest.fail("attributed"))
    with pytest.raises(sr.SamattrError, match="has the losses of its own queries"):
        baselines.validate("grad-dot", run.workload, functional="logit")


def test_of_a_truth_that_was_quick_to_make_more_is_had_by_retraining(folder, monkeypatch):
    run = sr.train(small(n_removed=9))
    full = baselines.leave_one_out(run)
    keep_truth(full, single_points_name(run.workload), folder)
    monkeypatch.setattr(truth, "is_made", lambda *_: False)
    found = baselines.leave_one_out(run)
    assert found.kept is not None and found.kept.apart == 0
    assert torch.equal(found.effects(run.train), full.effects(run.train))
    margins = run.splits.queries.of("margin")
    assert torch.equal(found.effects(margins), full.effects(margins))
    assert torch.equal(found.changes, full.changes)


def test_a_method_is_validated_against_what_is_kept(folder, never, fresh_store):
    workload = small(n_removed=9)
    run = sr.train(workload)
    truth = baselines.leave_one_out(run)
    with_parameters = baselines.validate("sam-if", workload, options={"damping": 0.1, "curvature": "hessian"})
    for path in fresh_store.rglob("validation.json"):
        path.unlink()
    keep_truth(truth, single_points_name(run.workload), folder)
    never()
    found = baselines.validate("sam-if", workload, options={"damping": 0.1, "curvature": "hessian"})
    assert found.metrics["spearman_per_query"] == with_parameters.metrics["spearman_per_query"]
    assert found.metrics["noise_auc"] == with_parameters.metrics["noise_auc"]
    assert found.metrics["relative_error"] == pytest.approx(with_parameters.metrics["relative_error"], rel=1e-12)
    assert found.diagnostics["truth"] == {"kept": True, "apart": 0}
    assert baselines.validate("loo", workload).n_removed == 9


@pytest.mark.parametrize(
    "settings", [{"n_removed": 8}, {"rho": 0.3}, {"n_query": 6}, {"training_seed": 1}, {"steps": 31}]
)
def test_another_run_does_not_find_it(settings, folder):
    run = sr.train(small(n_removed=9))
    keep_truth(baselines.leave_one_out(run), single_points_name(run.workload), folder)
    other = sr.train(small(n_removed=9).override(**settings))
    assert baselines.leave_one_out(other).kept is None


def test_a_run_that_ended_elsewhere_is_told_so_and_retrained(folder, caplog, monkeypatch):
    run = sr.train(small(n_removed=9))
    keep_truth(baselines.leave_one_out(run), single_points_name(run.workload), folder)
    moved = 1.1 * run.query_losses(run.splits.queries)
    monkeypatch.setattr(sr.Run, "digest", "of another run")
    monkeypatch.setattr(sr.Run, "query_losses", lambda *_: moved)
    with caplog.at_level(logging.WARNING, "samattr"):
        assert kept.find(run.fresh(), single_points_name(run.workload)) is None
    assert "10 % from this one's: it is not used" in caplog.text


def test_a_run_that_is_not_the_same_bit_for_bit_is_told_how_far_it_is(folder, monkeypatch):
    run = sr.train(small(n_removed=9))
    keep_truth(baselines.leave_one_out(run), single_points_name(run.workload), folder)
    losses = 1.001 * run.query_losses(run.splits.queries)
    monkeypatch.setattr(sr.Run, "query_losses", lambda *_: losses)
    monkeypatch.setattr(sr.Run, "digest", "of another run")
    assert kept.find(run.fresh(), single_points_name(run.workload)).apart == pytest.approx(1e-3)


def test_a_changed_value_is_one_line(folder):
    run = sr.train(small(n_removed=9))
    path = keep_truth(baselines.leave_one_out(run), single_points_name(run.workload), folder)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(sr.SamattrError, match="is damaged: fetch it again, or install samattr anew") as raised:
        kept.find(run, single_points_name(run.workload))
    assert "\n" not in str(raised.value)


def test_a_truth_that_is_stored_with_its_parameters_goes_before(folder):
    run = sr.train(small(n_removed=9))
    full = baselines.leave_one_out(run)
    keep_truth(full, single_points_name(run.workload), folder)
    assert baselines.leave_one_out(run).kept is None
    assert torch.equal(baselines.leave_one_out(run).changes, full.changes)


def test_float32_keeps_what_validation_points_say(folder, never):
    run = sr.train(small(n_removed=9, dtype="float32"))
    full = baselines.leave_one_out(run)
    keep_truth(full, single_points_name(run.workload), folder)
    never()
    found = baselines.leave_one_out(run).influence
    torch.testing.assert_close(found, full.influence, equal_nan=True, rtol=1e-5, atol=0)


def test_damaged_files_are_one_line(folder, never):
    run = sr.train(small(n_removed=9))
    path = keep_truth(baselines.leave_one_out(run), single_points_name(run.workload), folder)
    never()
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(sr.SamattrError, match="is damaged"):
        baselines.leave_one_out(run)
