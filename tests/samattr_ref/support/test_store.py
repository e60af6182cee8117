"""The store: whole or not at all, checked when it is read, and answering to its own key alone."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import baselines
import samattr_ref as sr
from samattr_ref.support import store
from tests.conftest import small

DAMAGED = r"is damaged: .*; delete the folder .* and run the command again"


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    store.save(tmp_path, "thing", {"a": 1}, {"x": torch.ones(3)})

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(sr.SamattrError, match=r"No space left on device.*free some space"):
        store.save(tmp_path, "thing", {"a": 2}, {"x": torch.zeros(3)})
    monkeypatch.undo()
    meta, tensors = store.read(tmp_path, "thing")
    assert meta["a"] == 1
    assert torch.equal(tensors["x"], torch.ones(3))
    assert not list(tmp_path.glob(f"{store.UNFINISHED}*"))


def test_what_a_killed_process_left_is_swept(tmp_path):
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing" / f"{store.UNFINISHED}1").write_text("half")
    with store.lock(tmp_path / "thing"):
        assert not list((tmp_path / "thing").iterdir())


def test_who_writes_without_the_lock_may_be_met_by_who_takes_it(tmp_path, monkeypatch):
    """What stands half-written then is removed as if its writer had been killed: it is written again, as often."""
    path, fsync, met = tmp_path / "thing", os.fsync, []

    def meets(opened):
        if len(met) < 3:
            met.append(1)
            with store.lock(path):
                assert not list(path.glob(f"{store.UNFINISHED}*"))
        fsync(opened)

    monkeypatch.setattr(store.os, "fsync", meets)
    store.save(path, "thing", {"a": 1}, {"x": torch.ones(3)})
    meta, tensors = store.read(path, "thing")
    assert len(met) == 3 and meta["a"] == 1 and torch.equal(tensors["x"], torch.ones(3))
    assert not list(path.glob(f"{store.UNFINISHED}*"))


def test_folders_are_flushed_too(tmp_path, monkeypatch):
    """A name that was renamed into a folder is on the disk when the folder is."""
    synced, fsync = [], os.fsync

    def watched(opened):
        synced.append(Path(f"/proc/self/fd/{opened}").readlink())
        fsync(opened)

    monkeypatch.setattr(store.os, "fsync", watched)
    store.replace_file(tmp_path / "file", b"content")
    assert synced[1:] == [tmp_path] and len(synced) == 2


def artefact(top, tensors=True):
    """An artefact of the store at `top`: its folder."""
    path = store.folder("things", "a1")
    store.save(path, "thing", {"digits": 1234.5, "name": "ünïcode"}, {"x": torch.arange(5.0)} if tensors else None)
    return path


def test_what_was_saved_is_what_is_read(fresh_store):
    path = artefact(fresh_store)
    meta, tensors = store.read(path, "thing")
    assert meta == {"digits": 1234.5, "name": "ünïcode"}
    assert torch.equal(tensors["x"], torch.arange(5.0))
    assert store.load(path, "other") is None and store.load(fresh_store / "nowhere", "thing") is None
    described = json.loads((path / "thing.json").read_text())
    assert list(described) == ["sha256", "format", "key", "tensors", "content"]
    assert described["key"] == "things/a1/thing"


@pytest.mark.parametrize("ending", ["json", "safetensors"])
def test_every_flipped_bit_is_noticed(fresh_store, ending):
    path = artefact(fresh_store) / f"thing.{ending}"
    data = path.read_bytes()
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(sr.SamattrError, match=DAMAGED) as raised:
            store.load(path.parent, "thing")
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("ending", ["json", "safetensors"])
def test_every_cut_is_noticed(fresh_store, ending):
    path = artefact(fresh_store) / f"thing.{ending}"
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(sr.SamattrError, match=DAMAGED):
            store.load(path.parent, "thing")
    path.write_bytes(data + b" ")
    with pytest.raises(sr.SamattrError, match=DAMAGED):
        store.load(path.parent, "thing")


@pytest.mark.parametrize(
    "content", [b"{}", b"[]", b"", b"null", b'"text"', b"\xff\xfe", b"{", b"NaN", b'{"sha256": 3}']
)
def test_what_is_no_artefact_is_one_line(fresh_store, content):
    path = artefact(fresh_store)
    (path / "thing.json").write_bytes(content)
    with pytest.raises(sr.SamattrError, match=DAMAGED):
        store.load(path, "thing")


def test_what_an_earlier_version_wrote_says_so(fresh_store):
    path = artefact(fresh_store)
    (path / "thing.json").write_text(json.dumps({"a": 1, "sha256": "0" * 64}))
    with pytest.raises(sr.SamattrError, match="an earlier version of samattr wrote it"):
        store.load(path, "thing")


def test_another_format_says_which(fresh_store, monkeypatch):
    monkeypatch.setattr(store, "FORMAT", 3)
    path = artefact(fresh_store)
    monkeypatch.undo()
    monkeypatch.setenv("SAMATTR_STORE", str(fresh_store))
    with pytest.raises(sr.SamattrError, match="it is of format 3, and this version of samattr reads 2"):
        store.load(path, "thing")


def test_what_stands_where_another_belongs_is_not_served(fresh_store):
    path = artefact(fresh_store)
    other = store.folder("things", "b2")
    shutil.copytree(path, other)
    with pytest.raises(sr.SamattrError, match="it is that of things/a1/thing"):
        store.load(other, "thing")
    for ending in ("json", "safetensors"):
        shutil.copy(path / f"thing.{ending}", path / f"another.{ending}")
    with pytest.raises(sr.SamattrError, match="it is that of things/a1/thing"):
        store.load(path, "another")


def test_tensors_of_another_artefact_are_not_served(fresh_store):
    path, other = artefact(fresh_store), store.folder("things", "b2")
    store.save(other, "thing", {}, {"x": torch.zeros(5)})
    shutil.copy(other / "thing.safetensors", path / "thing.safetensors")
    with pytest.raises(sr.SamattrError, match="its tensors are not those that were written"):
        store.load(path, "thing")


def test_a_store_may_be_moved(fresh_store, tmp_path, monkeypatch):
    path = artefact(fresh_store)
    fresh_store.rename(tmp_path / "moved")
    monkeypatch.setenv("SAMATTR_STORE", str(tmp_path / "moved"))
    assert store.load(tmp_path / "moved" / path.relative_to(fresh_store), "thing") is not None


def test_a_result_with_another_digit_is_not_served(fresh_store):
    """As it was found by hand: a digit of a stored validation is another one."""
    baselines.validate("random", small("digits-logreg"))
    (path,) = fresh_store.rglob("validation.json")
    path.write_text(path.read_text().replace("spearman", "Spearman", 1))
    with pytest.raises(sr.SamattrError, match=DAMAGED):
        baselines.validate("random", small("digits-logreg"))


def test_the_result_of_another_method_is_not_served(fresh_store):
    workload = small("digits-logreg")
    baselines.validate("random", workload)
    (other,) = fresh_store.rglob("validation.json")
    baselines.validate("tracin-cp", workload)
    (own,) = set(fresh_store.rglob("validation.json")) - {other}
    shutil.copy(other, own)
    with pytest.raises(sr.SamattrError, match="it is that of validations/"):
        baselines.validate("tracin-cp", workload)


def test_swapped_runs_are_noticed_before_anything_is_retrained(fresh_store):
    for seed in (0, 1):
        sr.train(replace(small(), seed=seed))
    first, second = sorted(fresh_store.glob("runs/*/run.json"))
    for ending in (".json", ".safetensors"):
        kept = first.with_suffix(ending).read_bytes()
        shutil.copy(second.with_suffix(ending), first.with_suffix(ending))
        second.with_suffix(ending).write_bytes(kept)
    for seed in (0, 1):
        with pytest.raises(sr.SamattrError, match="it is that of runs/"):
            sr.train(replace(small(), seed=seed))


@pytest.mark.parametrize("damage", [lambda meta: {**meta, "chunk": 0}, lambda meta: {}, lambda meta: [1]])
def test_an_edited_plan_is_not_followed(fresh_store, damage):
    run = sr.train(small())
    baselines.leave_one_out(run)
    (path,) = fresh_store.rglob("plan.json")
    described = json.loads(path.read_text())
    path.write_text(json.dumps(described | {"content": damage(described["content"])}))
    with pytest.raises(sr.SamattrError, match=DAMAGED):
        baselines.leave_one_out(run)


def test_a_finished_truth_is_read_from_a_store_that_cannot_be_written(fresh_store, monkeypatch):
    """Nothing is locked that is there already."""
    run = sr.train(small())
    made = baselines.leave_one_out(run)

    def unwritable(path):
        raise AssertionError(path)

    monkeypatch.setattr(store, "_make", unwritable)
    monkeypatch.setattr(store, "FileLock", unwritable)
    again = baselines.leave_one_out(sr.train(small()))
    assert np.array_equal(again.values.numpy(), made.values.numpy())
