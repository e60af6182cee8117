"""Bad days: a disk that is full, a store that may not be written, two programs on one store, a clock that jumps."""

import json
import os
import subprocess
import sys
import time

import pytest
import torch

import baselines
import samattr_ref as sr
from samattr_ref.support import store, upkeep
from samattr_ref.training import REPLAY_TOLERANCE
from tests.conftest import small


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """A file system of its own, in memory; a function changes its options, such as its size."""
    place = tmp_path / "disk"
    place.mkdir()

    def mounted(options):
        again = "remount," if os.path.ismount(place) else ""
        return subprocess.run(["mount", "-t", "tmpfs", "-o", again + options, "none", place], capture_output=True)

    if mounted("size=64m").returncode:
        pytest.skip("a file system of a test's own needs the rights of root")
    monkeypatch.setenv("SAMATTR_STORE", str(place / "store"))
    yield mounted
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_is_one_line_and_nothing_is_lost(disk, tmp_path, monkeypatch):
    run = sr.train(small())
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("SAMATTR_STORE", str(tmp_path / "elsewhere"))
        whole = baselines.leave_one_out(run)
    used = sum(path.stat().st_size for path in store.root().rglob("*") if path.is_file())
    disk(f"size={used // 1024 + 40}k")
    with pytest.raises(sr.SamattrError, match="No space left on device") as error:
        baselines.leave_one_out(run)
    assert "\n" not in str(error.value) and "free some space" in str(error.value)
    assert not list(upkeep.damages(upkeep.artefacts())) and not list(store.root().rglob(f"{store.UNFINISHED}*"))
    disk("size=64m")
    found = baselines.leave_one_out(run)
    assert torch.equal(found.parameters, whole.parameters)


def test_a_store_that_may_not_be_written_is_read_and_nothing_else(disk):
    run = sr.train(small())
    made = baselines.leave_one_out(run)
    disk("ro")
    assert torch.equal(baselines.leave_one_out(sr.train(small())).values, made.values)
    with pytest.raises(sr.SamattrError, match=r"cannot be written \(Read-only file system\)"):
        sr.train(small(rho=0.07))
    with pytest.raises(sr.SamattrError, match=r"cannot be written \(Read-only file system\)"):
        upkeep.sweep()


@pytest.mark.slow
def test_two_programs_on_one_store_do_the_work_once(tmp_path):
    command = [sys.executable, "-m", "reports.cli", "truth", "digits-logreg", "--json", "--quiet"]
    command += ["--set", "n_train=40", "--set", "steps=20"]
    env = {**os.environ, "SAMATTR_STORE": str(tmp_path)}
    both = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = (json.loads(process.communicate()[0]) for process in both)
    assert first["sha256"] == second["sha256"]
    assert first["seconds"] == second["seconds"]  # of the retraining that one of them did, and the other read


def test_a_clock_that_jumps_changes_nothing(fresh_store, monkeypatch):
    own = baselines.leave_one_out(sr.train(small()))
    monkeypatch.setenv("SAMATTR_STORE", str(fresh_store / "another"))
    jumps = iter(range(10_000))
    monkeypatch.setattr(time, "time", lambda: 1.8e9 * (next(jumps) % 2))
    run = sr.train(small())
    found = baselines.leave_one_out(run)
    assert torch.equal(found.values, own.values)
    assert 0 <= run.environment.get("seconds", 0.0) < 600 and 0 <= found.record["seconds"] < 600


def test_what_is_being_written_is_not_swept_whatever_the_clock_says(fresh_store):
    path = fresh_store / "cells" / "abc"
    with store.lock(path):
        path.mkdir()
        writing = path / f"{store.UNFINISHED}x"
        writing.write_bytes(b"half")
        os.utime(writing, (0, 0))
        upkeep.sweep()
        assert writing.exists()
    upkeep.sweep()
    assert not writing.exists()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_change_nothing_but_rounding(fresh_store, monkeypatch, dtype):
    """Within the tolerance that every truth carries in its record."""
    found = {}
    for threads in (1, 2):
        monkeypatch.setenv("SAMATTR_STORE", str(fresh_store / f"{threads}"))
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            found[threads] = baselines.leave_one_out(sr.train(small("digits-mlp", dtype=dtype)))
        finally:
            torch.set_num_threads(before)
    one, two = found[1], found[2]
    tolerance = one.record["tolerance"]
    assert tolerance == REPLAY_TOLERANCE[one.parameters.dtype]
    apart = (one.parameters - two.parameters).norm(dim=1) / one.parameters.norm(dim=1)
    assert float(apart.max()) <= tolerance
