"""Agreement of one method with exact retraining: what validation says, found again run by run."""

from dataclasses import replace

import pytest

import baselines
import samattr_ref as sr
from baselines.studies import agreement as studied
from baselines.studies.agreement import agreement, chosen_options, sweep
from baselines.studies.cases import LARGE
from baselines.truth import leave_one_out
from tests.conftest import small

WORKLOAD = small(n_train=50, n_validation=40)


@pytest.fixture(scope="module")
def truth():
    return leave_one_out(sr.train(WORKLOAD))


@pytest.mark.slow
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


def test_on_whole_training_sets_every_implicit_method_takes_the_same_series(monkeypatch):
    monkeypatch.setattr(studied, "WHOLE", 50)
    assert chosen_options("sam-hif", WORKLOAD) == LARGE
    assert chosen_options("sam-hif-fast", WORKLOAD) == LARGE
    assert chosen_options("sam-gif", WORKLOAD) == {"checkpoints": 10}
    assert chosen_options("sam-unrolled", WORKLOAD) == {}


@pytest.mark.slow
def test_sweep_varies_the_workload_and_keeps_its_options():
    rows = sweep(WORKLOAD, ("loo", "if", "tracin"), WORKLOAD.override(rho=0.0), {"damping": 0.5})
    assert [row["method"] for row in rows] == ["loo", "if", "tracin"]
    varied = leave_one_out(sr.train(WORKLOAD.override(rho=0.0)))
    options = chosen_options("if", WORKLOAD) | {"damping": 0.5}
    assert rows[1]["spearman"] == agreement(varied, "if", options)["spearman"]


def test_agreements_are_found_again_run_by_run(truth, fresh_store, monkeypatch):
    here = agreement(truth, "sam-if", {"damping": 0.1})
    undamped = agreement(truth, "sam-if", {"damping": 0.0})
    untouched = replace(truth.run, parameters=truth.run.parameters + 0.1)
    elsewhere = agreement(truth, "sam-if", {"damping": 0.1}, untouched)
    assert len({found["spearman"] for found in (here, undamped, elsewhere)}) == 3
    monkeypatch.setattr("baselines.studies.agreement.attribute", None)
    assert agreement(truth, "sam-if", {"damping": 0.1}) == here
    assert agreement(truth, "sam-if", {"damping": 0.1}, untouched) == elsewhere
