"""`samattr plan`: what the program says of work before it is begun, and what pages say of cells."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import samattr_ref as sr
from baselines.planner import Planner
from baselines.probing import Probe
from baselines.studies.edit_accuracy import editing_methods
from reports import job_costs
from reports.cli.plan import rendered
from reports.job import Job
from samattr_ref.support import store
from tests.reports.test_cli import SMALL

ROOT = Path(__file__).parents[2]


CLUSTERS = (ROOT / "docs" / "clusters.md").read_text()
SHOWN = re.findall(r"<!-- plan (\S+) -->\n(.*?)\n<!-- end of the plan -->", CLUSTERS, flags=re.DOTALL)


@pytest.fixture
def counting(monkeypatch):
    """Probes that take no time: every step, and every call, is said to take one second."""
    monkeypatch.setattr(Probe, "each", lambda *_: 1.0)
    monkeypatch.setattr(Probe, "time", lambda _, call: (call(), 1.0)[1])


def test_truth(samattr, fresh_store, counting, monkeypatch):
    monkeypatch.setattr("baselines.planning.CHUNK_FLOPS", 1)  # a task for each network
    status, out, _ = samattr("plan", "truth", "digits-mlp", *SMALL, "--engine", "loop", "--devices", "4", "--json")
    found = json.loads(out)
    stages = {stage["work"].split()[0]: stage for stage in found["stages"]}
    assert status == 0 and list(stages) == ["start", "data", "training", "retraining", "effects"]
    assert stages["training"]["seconds"] == 20 and stages["training"]["tasks"] == 1
    assert stages["retraining"]["shared"] and stages["retraining"]["seconds"] == 41 * 20  # whole batches
    assert found["device_seconds"] == pytest.approx(sum(stage["seconds"] for stage in found["stages"]))
    serial = found["device_seconds"] - stages["retraining"]["seconds"]
    assert serial < found["wall_seconds"] < found["device_seconds"]
    assert found["disk_bytes"] > 0 and found["memory_bytes"] > 2**20 and found["environment"]["torch"]
    table = samattr("plan", "truth", "digits-mlp", *SMALL, "--engine", "loop")[1]
    assert "| retraining digits-mlp without single points" in table and "on 1 device" in table
    assert samattr("plan", "truth", "digits-mpl")[2].startswith("samattr: unknown workload 'digits-mpl'")


def test_validation(samattr, fresh_store):
    status, out, _ = samattr("plan", "validate", "sam-if", "--workload", "digits-logreg", *SMALL, "--json")
    found = json.loads(out)
    of_method = {stage["work"]: stage for stage in found["stages"] if stage["method"] == "sam-if"}
    assert status == 0 and list(of_method) == ["options on digits-logreg", "scores on digits-logreg"]
    assert of_method["options on digits-logreg"]["tasks"] == 2  # a chain for each curvature
    assert all(stage["seconds"] > 0 for stage in of_method.values()) and not found["unknown"]
    assert [stage["work"] for stage in found["stages"]][-1] == "growth through the run of digits-logreg"
    assert "samattr: unknown method" in samattr("plan", "validate", "sam-fi")[2]


def job(*names):
    return Job(job_costs.get_profile("desk"), names)


def test_cells_take_what_the_page_says_at_the_pace_of_this_machine(fresh_store, monkeypatch):
    monkeypatch.setattr(Probe, "time", lambda *_: 0.2)
    page = json.loads((job_costs.PAGES / "desk" / "provenance.json").read_text())["experiments"]
    planner = Planner()
    job_costs.plan_job(job("rho", "sensitivity", "editing"), planner)
    rho, sensitivity, editing = sorted(planner.stages, key=lambda stage: "rho sensitivity editing".find(stage.work[:3]))
    assert len(editing.tasks) == page["editing"]["cells"] and not editing.shared  # they are timed
    assert len(rho.tasks) == page["rho"]["cells"] and rho.shared
    assert not sensitivity.tasks  # the same cells
    pace = float(re.search(r"page desk, × ([\d.]+)", rho.source)[1])
    assert sum(rho.tasks) == pytest.approx(60 * page["rho"]["minutes"] * pace, rel=0.01)
    assert 0.5 < pace < 5  # of a plain training of a tenth of a second


def test_what_a_page_took_is_shared_by_the_cells_of_its_workloads(fresh_store, monkeypatch, tmp_path):
    """The page may have been made of fewer workloads, in cells that were cut otherwise."""
    monkeypatch.setattr(Probe, "time", lambda *_: 0.2)
    real = job_costs.PAGES / "real"
    page, rows = tmp_path / "real", pd.read_csv(real / "editing.csv")
    for folder in (page, tmp_path / "beyond"):
        folder.mkdir()
    shutil.copy(job_costs.PAGES / "beyond" / "cost.csv", tmp_path / "beyond")
    rows[(rows["workload"] == "mnist-mlp-full") & (rows["seed"] == 0)].to_csv(page / "editing.csv")
    (page / "provenance.json").write_text(json.dumps({"experiments": {"editing": {"minutes": 30.0, "cells": 1}}}))
    planner = Planner()
    job_costs.plan_job(Job(job_costs.get_profile("real"), ("editing",)), planner, tmp_path)
    (stage,) = planner.stages
    pace = float(re.search(r"page real, × ([\d.]+)", stage.source)[1])
    methods = len(editing_methods()) + 1  # and what they are held against
    assert len(stage.tasks) == (3 + 1 + 1) * methods  # of three networks, the first at three seeds
    assert stage.tasks == pytest.approx([60 * 30 * pace / methods] * len(stage.tasks), rel=0.01)


def test_a_stored_cell_takes_nothing(fresh_store, monkeypatch):
    monkeypatch.setattr(Probe, "time", lambda *_: 0.2)
    wanted = job("along-the-run")
    (experiment,) = wanted.experiments
    first, *others = wanted.cells(experiment)
    store.save(first.path(first.workload()), "cell", {})
    planner = Planner()
    job_costs.plan_job(wanted, planner)
    (stage,) = planner.stages
    assert stage.work == "along-the-run, 1 of 2 cells" and len(stage.tasks) == len(others)


def test_of_cells_that_no_page_has_networks_and_truths_are_counted(fresh_store, counting):
    profile = replace(job_costs.get_profile("desk"), seeds=(0,))
    settings = {"n_train": 30, "steps": 5, "n_query": 3, "n_tuning": 3, "n_validation": 3, "n_removed": 4}
    planner = Planner()
    job_costs.plan_job(Job(profile, ("damping",), settings=settings), planner)
    (line,) = planner.unknown
    assert line.startswith("damping, ") and "no page" in line
    trained = [stage for stage in planner.stages if stage.work.startswith("training")]
    assert len(trained) == 2 and all(sum(stage.tasks) == 5 for stage in trained)
    assert sum(stage.work.startswith("retraining") for stage in planner.stages) == 2


def test_a_job_of_validations(samattr, fresh_store, monkeypatch):
    planned = []
    monkeypatch.setattr(Planner, "validation", lambda self, method, workload: planned.append((workload.seed, method)))
    assert samattr("plan", "reproduce", "table", "--workload", "digits-logreg", *SMALL, "--seeds", "0,4")[0] == 0
    assert planned == [(seed, method) for seed in (0, 4) for method in ("loo", *sr.methods())]


@pytest.mark.parametrize(("path", "shown"), SHOWN)
def test_plans_in_the_docs_are_committed_ones(path, shown):
    said = json.loads((ROOT / path).read_text())
    assert shown == rendered(said)
    assert f"`{said['command']}`" in CLUSTERS


def test_plans_in_the_docs_are_found():
    assert len(SHOWN) == CLUSTERS.count("<!-- plan ") > 0
