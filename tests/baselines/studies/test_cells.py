"""Cells: which are the same, and how many are measured side by side."""

import re
import time
from types import SimpleNamespace

import pandas as pd
import pytest

from baselines.studies import cells, over_damping, over_rho
from baselines.studies.cases import Case
from baselines.studies.cells import Cell, make
from reports.experiment import gather
from samattr_ref.support import progress
from samattr_ref.support.timing import Timing


def test_cells_that_measure_the_same_are_the_same_whatever_for():
    case = Case("digits-logreg", {}, {"rho": 0.1})
    one, same = (Cell(over_rho.measure, case, 0, name) for name in ("rho", "sensitivity"))
    assert one == same
    assert hash(one) == hash(same)
    assert str(same) == "sensitivity on digits-logreg rho=0.1, seed 0"
    others = [
        Cell(over_rho.measure, case, 1, "rho"),
        Cell(over_damping.measure, case, 0, "rho"),
        Cell(over_rho.measure, Case("digits-logreg", {}, {"rho": 0.2}), 0, "rho"),
    ]
    assert len({one, same, *others}) == 4


def slowly(workload):
    time.sleep(0.12)
    return pd.DataFrame({"x": [1.0]})


@pytest.mark.parametrize("quiet", [False, True])
def test_how_far_cells_are_is_said_in_whole_lines(quiet, monkeypatch, capsys, fresh_store):
    """As `samattr reproduce NAME 2> file` has it: how far, how long still, nothing written over, no line too often."""
    monkeypatch.setattr(progress, "SECONDS", 0.05)
    monkeypatch.setattr(progress, "REPORTER", progress.Reporter())
    if quiet:
        progress.silence()
    sizes = {"n_train": 20, "n_query": 3, "n_tuning": 3, "n_validation": 5, "steps": 4, "batch_size": 10}
    began = time.monotonic()
    assert make([Cell(slowly, Case("digits-logreg", sizes), seed, "slow") for seed in (0, 1, 2)], jobs=1) == {}
    said = capsys.readouterr().err
    if quiet:
        assert said == ""
        return
    assert "\r" not in said and said.endswith("\n")
    lines = said.splitlines()
    assert 3 <= len(lines) <= (time.monotonic() - began) / 0.05
    assert all(re.match(r"experiments: [0-3] of 3, \d\d:\d\d so far", line) for line in lines)
    left = r"experiments: [12] of 3, .* so far, about \d\d:\d\d left; slow on digits-logreg"
    assert any(re.match(left, line) for line in lines)


def test_what_other_programs_took_meanwhile_is_kept(monkeypatch, fresh_store):
    sizes = {"n_train": 20, "n_query": 3, "n_tuning": 3, "n_validation": 5, "steps": 4, "batch_size": 10}
    made = [Cell(lambda workload: pd.DataFrame({"x": [1.0]}), Case("digits-logreg", sizes), i, "quick") for i in (0, 1)]
    for cell, took in zip(made, (Timing(30.0, 0.6), Timing(10.0, 0.2)), strict=True):
        monkeypatch.setattr(cells, "Stopwatch", lambda took=took: SimpleNamespace(read=lambda: took))
        assert make([cell], jobs=1) == {}
    found = gather("rho", made, "samattr")
    assert (found.seconds, found.load, found.disturbed) == (40.0, pytest.approx(0.5), True)


def test_workers_are_as_many_as_memory_and_cores_allow(monkeypatch):
    monkeypatch.setattr(cells.psutil, "virtual_memory", lambda: type("M", (), {"available": 1})())
    assert cells._workers() == 1
    monkeypatch.setattr(cells, "device", lambda: "cuda")
    assert cells._workers() == 1


def failing(workload):
    return workload.nothing


def test_a_measure_of_another_package_that_fails_stops_no_other(fresh_store):
    case = Case("digits-logreg", {"n_train": 20, "n_query": 3, "n_tuning": 2, "n_validation": 3, "steps": 2})
    reasons = cells.make([Cell(failing, case, 0, "failing")], jobs=1)
    (reason,) = reasons.values()
    line = failing.__code__.co_firstlineno + 1
    assert reason == f"it raises AttributeError: 'Workload' object has no attribute 'nothing', at test_cells.py:{line}"
