"""A store of its own for the tests, the data folder where there is one, and small workloads."""

import gc
import os
import sys
from pathlib import Path

import pytest
import torch
import torch._dynamo

import samattr_ref as sr
from baselines.comparison import METRICS
from reports import cli
from samattr_ref.catalogue import WORKLOADS
from samattr_ref.network.network import Ways
from samattr_ref.network.objective import Objective
from samattr_ref.network.trial import Trial, noisy
from samattr_ref.registry import METHODS
from samattr_ref.sam.variants import VARIANTS
from samattr_ref.support.device import device


def pytest_configure(config):
    """Give each of several test processes one core; count a data folder that is named but not there as none."""
    if hasattr(config, "workerinput"):
        os.environ["OMP_NUM_THREADS"] = "1"
        torch.set_num_threads(1)
    named = os.environ.get("SAMATTR_DATA")
    if named and not Path(named).is_dir():
        del os.environ["SAMATTR_DATA"]


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in its own
def pytest_collection_modifyitems(items):
    """In several processes a file's tests stay together, and those of a row of the zoo: they share what they train.

    The rows come last, since they are short: no process is left with a long file at the end.
    """
    for item in items:
        row = item.callspec.params.get("case", "") if hasattr(item, "callspec") else ""
        item.add_marker(pytest.mark.xdist_group(f"{item.path} {row}"))
    items.sort(key=lambda item: item.path.name == "test_zoo.py")


def pytest_collection_finish():
    """Leave what was imported out of every later collection: costs are measured after one, half a second each."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure():
    """Let modules say goodbye as they would."""
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def store_folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("store")
    os.environ["SAMATTR_STORE"] = str(path)
    return path


@pytest.fixture
def fresh_store(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMATTR_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def registering(monkeypatch):
    """What a test registers is gone after it."""
    for kind in (METHODS, VARIANTS, WORKLOADS, METRICS):
        list(kind)  # what installed packages bring is loaded once, and stays
        for kept in ("_things", "_homes"):
            monkeypatch.setattr(kind, kept, dict(getattr(kind, kept)))


@pytest.fixture
def samattr(monkeypatch, capsys):
    """The program as a user types it: exit status, standard output, standard error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["samattr", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return call


KNOWING = {name: method for name, method in sr.methods().items() if method.family is not sr.Family.CHANCE}
"""The methods whose scores know something of the points."""


def needs_data(name):
    """Skip where the data folder lacks a data set that only a download could bring."""
    folder = os.environ.get("SAMATTR_DATA")
    here = folder is not None and (Path(folder) / name).exists()
    return pytest.mark.skipif(not here, reason=f"{name} is not in SAMATTR_DATA, and tests download nothing")


needs_cpu = pytest.mark.skipif(device() != "cpu", reason="what is measured or said is so on a CPU")


def tried(module, x, y, weight_decay=0.0, call="bound"):
    """A module's objective that uses what is fast where that is right at its parameters, and at these with noise."""
    objective = Objective(module, weight_decay)
    objective.network.ways = Ways(call=call)
    omega = objective.flatten()
    objective.try_at(Trial(objective.network, x, y, (omega, noisy(objective.layout, omega))))
    return objective


def small(name="digits-logreg", **settings):
    """A workload cut down to test size, in float64."""
    sizes = {"n_train": 60, "n_query": 7, "n_tuning": 5, "n_validation": 9, "steps": 40, "batch_size": 20}
    return sr.load_workload(name).override(**({"dtype": "float64"} | sizes | settings))


def small_cnn(**settings):
    """A convolutional workload of test size on the embedded digits."""
    workload = sr.Workload("digits-cnn", sr.Digits(), sr.CNN((3, 4)), sr.SamRecipe(learning_rate=0.3), dtype="float64")
    sizes = {"n_train": 40, "n_query": 5, "n_tuning": 5, "n_validation": 5, "steps": 12, "batch_size": 16}
    return workload.override(**(sizes | settings))
