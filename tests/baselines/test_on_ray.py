"""The executor ray: the same results as in this process, with calls made again where a process died."""

import json
import os
import time
from pathlib import Path

import pytest
import torch

import baselines
import samattr_ref as sr
from baselines.executors import HERE, executing, executor
from baselines.studies import cells
from baselines.studies.cases import Case
from samattr_ref.support.errors import SamattrError
from tests.campaigns.ray_kills import campaign
from tests.conftest import small

ray = pytest.importorskip("ray", reason="the extra ray is not installed")

from baselines import on_ray  # noqa: E402
from baselines.on_ray import OnRay  # noqa: E402

pytestmark = pytest.mark.slow


def dying(shared, item):
    if item == "dies":
        os._exit(1)
    return item


def losing(shared, item):
    with Path(item).open("a+") as file:
        file.write("x")
        file.seek(0)
        if len(file.read()) == 1:
            raise ray.exceptions.ObjectLostError("0" * 56, None, "")
    return "found"


@pytest.fixture(scope="module")
def cluster():
    with OnRay() as started:
        yield started


def doubled(shared, item):
    if item == "wrong":
        raise SamattrError("this item is wrong")
    if item == "broken":
        raise ValueError("a fault of the code")
    if isinstance(item, str):  # a file: the first call dies, the second finds that it did
        with Path(item).open("a+") as file:
            file.write("x")
            file.seek(0)
            if len(file.read()) == 1:
                os._exit(1)
        return Path(item).name
    time.sleep(0.01 * (5 - item % 5))
    return shared * item, torch.get_num_threads()


def test_calls_come_in_with_their_places(cluster):
    found = dict(cluster.map(doubled, 10, list(range(20))))
    assert found == {i: (10 * i, 1) for i in range(20)}


def test_a_call_is_made_again_where_its_process_died(cluster, tmp_path):
    assert dict(cluster.map(doubled, 1, [3, str(tmp_path / "died")])) == {0: (3, 1), 1: "died"}
    assert (tmp_path / "died").read_text() == "xx"


def test_what_is_lost_is_asked_for_again_and_not_for_ever(cluster, tmp_path, monkeypatch):
    """As what a call was sent is with the machine that held it: Ray says so as if the call had raised it."""
    monkeypatch.setattr(on_ray, "RETRIES", 2)
    came = []
    with pytest.raises(SamattrError, match="was lost 3 times, the last time by WorkerCrashed"):
        for _, found in cluster.map(dying, 1, ["dies", *range(12)]):
            came.append(found)
    assert sorted(came) == list(range(12))  # all others are made before
    found = dict(cluster.map(losing, 1, [str(tmp_path / "lost")]))
    assert found == {0: "found"} and (tmp_path / "lost").read_text() == "xx"


def test_a_mistake_is_one_and_a_fault_is_one(cluster):
    with pytest.raises(SamattrError, match="this item is wrong"):
        list(cluster.map(doubled, 1, [1, "wrong"]))
    with pytest.raises(ValueError, match="a fault of the code"):
        list(cluster.map(doubled, 1, ["broken"]))


def test_what_no_machine_has_is_refused(cluster):
    with pytest.raises(SamattrError, match="a call takes 10000 cores and 0 GPUs, and the machines have"):
        list(cluster.map(doubled, 1, [1], cores=10_000))


def test_what_fits_on_no_single_machine_is_refused():
    """Two machines of one core make no call of two."""
    one = {"CPU": 1.0, "GPU": 2.0}
    assert OnRay()._slots([one, one, {"CPU": 3.0}], 1) == 5
    assert OnRay()._slots([one, {"CPU": 3.0}], 2) == 1
    assert OnRay(gpus=0.5)._slots([{"CPU": 16.0, "GPU": 2.0}, {"CPU": 16.0}], 1) == 4
    with pytest.raises(SamattrError, match="the machines have 1 cores and 2 GPUs, 1 cores and 2 GPUs"):
        OnRay()._slots([one, one], 2)


def test_a_cluster_that_is_not_there_is_one_line():
    with pytest.raises(SamattrError, match=r"give 0 or more"):
        OnRay(gpus=-1)


@pytest.mark.parametrize("engine", ["stacked", "batched", "loop"])
def test_a_truth_is_that_of_this_process_bit_for_bit(cluster, fresh_store, monkeypatch, engine):
    own = baselines.leave_one_out(sr.train(small("digits-mlp")), engine)
    monkeypatch.setenv("SAMATTR_STORE", str(fresh_store / "another"))
    with executing(cluster):
        assert executor() is cluster
        found = baselines.leave_one_out(sr.train(small("digits-mlp")), engine)
    assert executor() is HERE
    assert torch.equal(found.parameters, own.parameters) and found.sha256 == own.sha256


def test_options_are_chosen_as_in_this_process(cluster, fresh_store, monkeypatch):
    own = baselines.validate("sam-if", small())
    monkeypatch.setenv("SAMATTR_STORE", str(fresh_store / "another"))
    with executing(cluster):
        found = baselines.validate("sam-if", small())
    assert found.diagnostics["options"] == own.diagnostics["options"]
    assert found.diagnostics["tuning"] == own.diagnostics["tuning"]
    assert found.per_query == own.per_query


def test_cells_are_measured_and_stored_by_who_asks(cluster, fresh_store):
    from baselines.studies.trained_networks import measure

    case = Case("digits-logreg", {"n_train": 60, "steps": 40, "batch_size": 20}, {"runs": 1})
    asked = [cells.Cell(measure, case, seed, "networks") for seed in (0, 1)]
    with executing(cluster):
        assert cells.make(asked) == {}
    assert all(cell.find() is not None for cell in asked)
    assert len(list(fresh_store.glob("cells/*/cell.json"))) == 2


def test_the_program_takes_a_cluster(samattr, fresh_store, monkeypatch, capsys):
    ray.shutdown()
    capsys.readouterr()  # at its end Ray prints what it had to say of earlier tests' dead processes
    small_truth = ("truth", "digits-mlp", "--set", "n_train=60", "--set", "steps=20", "--json")
    own = json.loads(samattr(*small_truth)[1])
    monkeypatch.setenv("SAMATTR_STORE", str(fresh_store / "another"))
    code, out, _ = samattr(*small_truth, "--executor", "ray")
    assert code == 0 and json.loads(out)["sha256"] == own["sha256"]
    code, _, said = samattr(*small_truth, "--address", "auto")
    assert code == 1 and said.strip() == (
        "samattr: --address and --gpus-per-task go with --executor ray alone: leave them out"
    )
    code, _, said = samattr(*small_truth, "--executor", "ray", "--address", "127.0.0.2:1")
    assert code == 1 and len(said.strip().splitlines()) == 1 and "no Ray cluster at 127.0.0.2:1" in said


def test_killed_processes_and_nodes_lose_nothing(tmp_path, monkeypatch):
    """The short form of the campaign that CONTRIBUTING.md names."""
    ray.shutdown()
    found = campaign(40, tmp_path, monkeypatch, seconds=2.0, most=3)
    assert found["retrainings"] == 40 and found["bit-equal"]
