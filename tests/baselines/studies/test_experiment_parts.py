"""What experiments are made of: agreement, detection, shifts, kinds of harmful points, timings; on small workloads."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import baselines
import samattr_ref as sr
from baselines import metrics
from baselines.studies.agreement import agreement, chosen_options, sweep
from baselines.studies.detection import CONFIDENT_LEARNING, SELF, detection, held_out_probabilities
from baselines.studies.every_point import full_size
from baselines.studies.growth import EXPECTED, time_methods
from baselines.studies.kinds_of_points import harmful
from baselines.studies.shift_check import COMPARED, shift_check
from baselines.studies.shifts import shifted
from baselines.truth import leave_one_out, retraining_truth
from samattr_ref.support.seeds import stream
from tests.conftest import small

WORKLOAD = small(n_train=50, n_validation=40)


@pytest.fixture(scope="module")
def truth():
    return leave_one_out(sr.train(WORKLOAD))


def test_agreement_is_what_validation_says(truth):
    full = baselines.validate("sam-if", WORKLOAD)
    options = chosen_options("sam-if", WORKLOAD)
    assert options == {name: full.diagnostics["options"][name] for name in ("curvature", "damping")}
    found = agreement(truth, "sam-if", options)
    assert found["status"] == "ok"
    assert found["spearman"] == pytest.approx(full.metrics["spearman_per_query"]["mean"])
    assert found["noise_auc"] == pytest.approx(full.metrics["noise_auc"])
    assert found["rho_over_grad_norm"] == full.diagnostics["rho_over_grad_norm"]


def test_exact_loo_agrees_with_itself_and_a_failed_solve_is_named(truth):
    assert agreement(truth, "loo", {})["spearman"] == pytest.approx(1)
    failed = agreement(truth, "sam-hif", {"solver": "gmres", "max_iterations": 1, "tolerance": 1e-14})
    assert failed.keys() == {"status"}
    assert "gmres" in failed["status"]


def test_large_networks_take_fixed_options():
    options = chosen_options("sam-hif", small("digits-mlp").override(hidden=(64,)))
    assert options == {"curvature": "gauss-newton", "damping": 0.03, "tolerance": 1e-2}
    assert chosen_options("grad-dot", WORKLOAD) == {}


def test_sweep_varies_the_workload_and_keeps_its_options():
    rows = sweep(WORKLOAD, ("loo", "if", "tracin"), WORKLOAD.override(rho=0.0), {"damping": 0.5})
    assert [row["method"] for row in rows] == ["loo", "if", "tracin"]
    varied = leave_one_out(sr.train(WORKLOAD.override(rho=0.0)))
    options = chosen_options("if", WORKLOAD) | {"damping": 0.5}
    assert rows[1]["spearman"] == agreement(varied, "if", options)["spearman"]


def test_found_share_and_seed_intervals():
    scores, noisy = np.array([3.0, -2, 5, -1, 0]), np.array([False, True, False, False, True])
    assert metrics.found_share(scores, noisy, 0.2) == 0.5
    assert metrics.found_share(scores, noisy, 0.6) == 1
    assert np.isnan(metrics.found_share(scores, noisy & False, 0.5))
    mean, low, high = metrics.mean_interval(np.array([1.0, 2, 3]))
    assert (mean, low, high) == pytest.approx((2, 2 - 2.484, 2 + 2.484), abs=1e-3)  # t = 4.303, s/√3 = 0.577
    assert np.isnan(metrics.mean_interval(np.array([1.0]))[1])
    assert metrics.mean_interval(np.array([1.0, np.nan, 3]))[0] == 2


def test_detection(truth):
    frame = detection(truth.run, ["loo", "sam-if", "random"], ["if"], WORKLOAD, truth, folds=3)
    names = ["loo", "sam-if", "random", f"{SELF}if", CONFIDENT_LEARNING]
    assert list(dict.fromkeys(frame["method"])) == names
    for _, part in frame.groupby("method"):
        assert part["found"].is_monotonic_increasing
        assert part["found"].iloc[[0, -1]].tolist() == [0, 1]
    auc = frame.groupby("method")["auc"].first()
    assert auc["loo"] > 0.8
    assert auc[f"{SELF}if"] > 0.7
    assert frame.loc[frame["method"] == f"{SELF}if", "precision"].isna().all()
    row = frame[frame["method"] == "loo"].iloc[0]
    flagged, noisy = truth.influence < 0, truth.run.splits.noisy
    assert row["precision"] == pytest.approx(float((flagged & noisy).sum() / flagged.sum()))
    assert row["recall"] == pytest.approx(float((flagged & noisy).sum() / noisy.sum()))
    with pytest.raises(sr.SamattrError, match="need a ground truth"):
        detection(truth.run, ["loo"], [], WORKLOAD)


def test_held_out_probabilities_come_from_the_run_without_the_fold(truth):
    run = truth.run
    order = torch.randperm(run.n_train, generator=stream(run.workload.seed, "folds", 5))
    fold = order.tensor_split(5)[2]
    omega = retraining_truth(run, [fold]).parameters[0]
    expected = run.predictions(run.train.take(fold), omega).numpy()
    np.testing.assert_allclose(held_out_probabilities(run, 5)[fold], expected, rtol=1e-8)


def test_shifts(truth, tmp_path, monkeypatch):
    validation = truth.run.splits.validation
    assert set(shifted(validation, "classes", 10, 0).y.tolist()) <= set(range(5))
    negative = shifted(validation, "negative", 10, 0).x
    torch.testing.assert_close(negative, validation.x.min() + validation.x.max() - validation.x)
    assert (shifted(validation, "brightness", 10, 0).x >= validation.x).all()
    noisy = shifted(validation, "noise", 10, 0)
    assert torch.equal(noisy.x, shifted(validation, "noise", 10, 0).x)
    assert not torch.equal(noisy.x, shifted(validation, "noise", 10, 1).x)
    with pytest.raises(sr.SamattrError, match="unknown shift 'nois'"):
        shifted(validation, "nois", 10, 0)
    monkeypatch.setenv("SAMATTR_DATA", str(tmp_path))
    with pytest.raises(sr.SamattrError, match=r"CIFAR-10\.1 is not in"):
        shifted(validation, "cifar10.1", 10, 0)


def test_cifar10_1_files(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMATTR_DATA", str(tmp_path))
    folder = tmp_path / "cifar10.1"
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    np.save(folder / "cifar10.1_v6_data.npy", images)
    np.save(folder / "cifar10.1_v6_labels.npy", np.arange(6, dtype=np.int32))
    like = sr.Examples(torch.zeros(4, 3, 32, 32), torch.zeros(4, dtype=torch.int64))
    found = shifted(like, "cifar10.1", 10, 0)
    assert found.y.tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(found.x[1, 2], torch.tensor(images[1, :, :, 2] / 127.5 - 1, dtype=torch.float32))
    np.save(folder / "cifar10.1_v6_labels.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(sr.SamattrError, match="damaged"):
        shifted(like, "cifar10.1", 10, 0)


def test_shift_check(truth):
    frame = shift_check(WORKLOAD, ["negative", "classes"])
    assert list(frame["method"]) == list(COMPARED) * 2
    exact = frame[frame["method"] == "loo"]
    assert exact["loo_after"].tolist() == pytest.approx([1, 1])
    assert exact["loo_before"].tolist() == pytest.approx(exact["rank_agreement"].tolist())
    assert frame[["gain_before", "gain_after"]].abs().le(1).all().all()


def test_harmful(truth):
    frame = harmful(WORKLOAD, "loo", 6)
    noisy = truth.run.splits.noisy.numpy()
    assert ((frame["kind"] == "wrong") == noisy).all()
    assert ((frame["given"] != frame["clean"]) == noisy).all()
    kept = frame["image"].notna()
    assert set(np.flatnonzero(kept)) == set(np.argsort(frame["score"], kind="stable")[:6])
    assert set(frame["kind"]) <= {"wrong", "rare", "hard", "none"}


def test_agreements_are_found_again_run_by_run(truth, fresh_store, monkeypatch):
    here = agreement(truth, "sam-if", {"damping": 0.1})
    undamped = agreement(truth, "sam-if", {"damping": 0.0})
    untouched = replace(truth.run, parameters=truth.run.parameters + 0.1)
    elsewhere = agreement(truth, "sam-if", {"damping": 0.1}, untouched)
    assert len({found["spearman"] for found in (here, undamped, elsewhere)}) == 3
    monkeypatch.setattr("baselines.studies.agreement.attribute", None)
    assert agreement(truth, "sam-if", {"damping": 0.1}) == here
    assert agreement(truth, "sam-if", {"damping": 0.1}, untouched) == elsewhere


def test_timings_and_full_size():
    timed = [name for name in sr.methods() if name in EXPECTED]
    frame = pd.concat([time_methods(WORKLOAD, "C", 4, ["tracin-cp"]), time_methods(WORKLOAD, "n", 50, timed)])
    assert (frame["seconds"] > 0).all()
    assert set(frame["method"]) == set(timed) == set(sr.methods())
    methods = {"sam-gif": {"checkpoints": 5}, "sam-hif": {"solver": "gmres", "max_iterations": 1, "tolerance": 1e-14}}
    scores = full_size(WORKLOAD.override(n_removed=6), methods).set_index("method")
    assert list(scores.index) == ["training", "sam-gif", "sam-hif", "loo"]
    assert scores.loc["sam-gif", "status"] == "ok"
    assert "gmres" in scores.loc["sam-hif", "status"]
    assert -1 <= scores.loc["sam-gif", "spearman_mean_query"] <= 1
    assert (scores["n_removed"] == 6).all()
    assert (scores["process_bytes"] > 2**26).all()
