"""The examples of CONTRIBUTING.md and of the page on workloads do what they say, each in a file of its own."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import baselines
import samattr_ref as sr
from baselines.comparison import Comparison, table_metrics
from baselines.metrics import spearman_per_query
from reports.experiment import EXPERIMENTS, experiments, get_experiment
from tests.conftest import small

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
WORKLOADS = (ROOT / "docs" / "a-workload-of-your-own.md").read_text()
FILES = dict(re.findall(r"```python\n# (\w+)\.py\n(.*?)```", TEXT + WORKLOADS, flags=re.DOTALL))
GROUPS = {
    "cosine": "methods",
    "toptenth": "metrics",
    "softsam": "variants",
    "rings": "workloads",
    "learningrates": "experiments",
}


@pytest.fixture
def folder(tmp_path, monkeypatch, registering):
    for name, text in FILES.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in FILES:
        sys.modules.pop(name, None)


def test_every_example_is_tested():
    assert set(FILES) == {*GROUPS, "table", "mynetwork"}  # these two are in no group: they register nothing
    assert set(re.findall(r"samattr\.(\w+)", TEXT)) == set(GROUPS.values())


def test_the_method_is_the_gradient_product_where_lengths_count(folder):
    run = sr.train(small())
    importlib.import_module("cosine")
    products = sr.attribute(run, "grad-dot").values * run.n_train
    for method in ("cosine", "cosine.py:cosines", "cosine:cosines"):
        assert (sr.attribute(run, method, power=0.0).values - products).abs().max() < 1e-9 * products.abs().max()
    assert sr.attribute(run, "cosine").values.abs().max() <= 1 + 1e-9
    assert all(found.passed is not False for found in baselines.check("cosine.py:cosines"))
    with pytest.raises(sr.SamattrError, match="option power of cosine cannot be 'much': it takes a number"):
        sr.attribute(run, "cosine", power="much")


def test_the_metric_is_in_results_and_tables(folder, fresh_store):
    importlib.import_module("toptenth")
    (column,) = (known for known in table_metrics() if known.name == "top_tenth")
    assert column.heading == "Top tenth"
    true = np.arange(40.0).reshape(20, 2)
    assert column.of(Comparison(true, true)).tolist() == [1, 1]
    assert column.of(Comparison(-true, true)).tolist() == [0, 0]
    found = baselines.validate("grad-dot", small()).metrics["top_tenth_per_query"]
    assert 0 < found["mean"] <= 1


def test_the_variant_is_trained_and_its_derivative_is_that_of_retraining(folder):
    soft = importlib.import_module("softsam").SoftSam
    run = sr.train(small(variant="soft-sam", rho=0.3))
    assert run.workload.recipe.variant == soft()
    assert not run.parameters.equal(sr.train(small(rho=0.3)).parameters)
    truth, scores = baselines.leave_one_out(run).values, sr.attribute(run, "sam-unrolled").values
    assert (scores - truth).norm() < 0.2 * truth.norm()


@pytest.mark.slow
def test_the_workload_is_trained_on_its_rings(folder):
    workload = sr.load_workload("rings.py:rings").override(n_train=100, n_removed=5)
    assert sr.load_workload("rings-mlp").name == "rings-mlp"
    run = sr.train(workload)
    assert run.n_train == 100
    assert int(run.splits.noisy.sum()) == 10
    assert run.accuracy(run.splits.validation) > 0.8
    assert baselines.validate("sam-if", workload).metrics["noise_auc"] is not None


@pytest.mark.parametrize(
    ("reference", "settings"),
    [("table.py:wines", {}), ("rings.py:rings", {"n_train": 100}), ("mynetwork.py:narrow", {})],
)
def test_the_workloads_of_the_page_can_be_attributed(folder, reference, settings):
    """As it says: the exact derivative ranks points as retraining does, and nothing marks it."""
    run = sr.train(sr.load_workload(reference).override(n_query=10, n_removed=20, **settings))
    truth, scores = baselines.leave_one_out(run), sr.attribute(run, "sam-unrolled")
    true, predicted = (values.double().cpu().numpy() for values in (truth.values, scores.values[truth.removed]))
    assert spearman_per_query(predicted, true).mean() > 0.9
    assert sr.marks_of(scores.diagnostics) == []


def test_the_workload_that_the_page_calls_chaotic_is_said_to_be(folder):
    run = sr.train(sr.load_workload("mynetwork.py:narrow").override(n_query=10, n_removed=20, momentum=0.9))
    truth, scores = baselines.leave_one_out(run), sr.attribute(run, "sam-unrolled")
    true, predicted = (values.double().cpu().numpy() for values in (truth.values, scores.values[truth.removed]))
    assert spearman_per_query(predicted, true).mean() < 0.2
    assert scores.diagnostics["growth"] > 1000
    assert [mark.split(" (")[0] for mark in sr.marks_of(scores.diagnostics)] == ["the run is chaotic"]


def test_the_experiment_is_measured_and_shown(folder, monkeypatch):
    experiments()  # the project's own are there before what is forgotten
    for kept in ("_things", "_homes"):
        monkeypatch.setattr(EXPERIMENTS, kept, dict(getattr(EXPERIMENTS, kept)))
    importlib.import_module("learningrates")
    chosen = get_experiment("learning-rates")
    workload = small(n_train=30, steps=10)
    frames = [chosen.measure(workload, eta).assign(workload=workload.name, n_train=30, seed=0) for eta in (0.1, 0.3)]
    frame = pd.concat(frames)
    shown = chosen.tabulate(frame)
    assert list(shown) == ["Workload", "Method", "η = 0.1", "η = 0.3"] and "SAM-IF" in set(shown["Method"])
    assert "n = 30" in chosen.caption(frame)
    plt.close(chosen.draw(frame))


@pytest.mark.slow
def test_entry_points_bring_them_into_the_program(folder):
    """As an installed package does, by its metadata alone."""
    metadata = folder / "mypackage-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mypackage\nVersion: 1.0\n")
    points = "".join(f"[samattr.{group}]\nanything = {module}\n" for module, group in GROUPS.items())
    (metadata / "entry_points.txt").write_text(points)
    environment = {**os.environ, "PYTHONPATH": str(folder)}

    def samattr(*words):
        command = [sys.executable, "-W", "ignore", "-m", "reports.cli", *words]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    assert "cosine" in samattr("methods", "--json")
    small = ["--set", "steps=20", "--set", "n_train=40", "--set", "n_removed=5"]
    found = samattr("validate", "cosine", "--workload", "rings-mlp", "--set", "variant=soft-sam", *small, "--json")
    assert (found["method"], found["workload"], found["n_train"]) == ("cosine", "rings-mlp", 40)
    assert "top_tenth_per_query" in found["metrics"]
