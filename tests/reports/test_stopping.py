"""The program stops when it is asked to: within two seconds, with all its processes, and goes on from there."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

SECONDS = 2.0
TRUTH = ("truth", "digits-mlp", "--set", "steps=4000", "--engine", "loop", "--json", "--quiet")
CELLS = ("reproduce", "neumann", "rho", "--profile", "desk", "--jobs", "2", "--quiet")


def begun(arguments, folder):
    process = subprocess.Popen(
        [sys.executable, "-m", "reports.cli", *arguments],
        env={**os.environ, "SAMATTR_STORE": str(folder / "store")},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return process, psutil.Process(process.pid)


def until(there):
    deadline = time.monotonic() + 120
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def at_work(watched):
    """How many of its processes compute; one that ends while it is looked at does not."""
    computing = 0
    for child in watched.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            computing += child.cpu_percent(0.1) > 10
    return computing


def alive(children):
    """Those that have not ended: not waited for is ended, and so is what vanishes while it is looked at."""
    left = []
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
                left.append(child)
    return left


def ended(process, number):
    """Send a signal: what was said, and how long it took to end with all its processes."""
    children = psutil.Process(process.pid).children(recursive=True)
    began = time.monotonic()
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    taken = time.monotonic() - began
    psutil.wait_procs(children, timeout=1)
    assert not alive(children)
    return said, taken


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize(
    ("number", "how", "status"), [(signal.SIGINT, "interrupted", 130), (signal.SIGTERM, "ended", 143)]
)
def test_retraining_stops_at_once_and_goes_on(tmp_path, number, how, status):
    process, _ = begun(TRUTH, tmp_path)
    until(lambda: list(tmp_path.rglob("plan.json")))
    time.sleep(1)
    said, taken = ended(process, number)
    assert said.strip() == f"samattr: {how}: what was finished is kept, and the same command goes on from there"
    assert (process.returncode, taken < SECONDS) == (status, True), taken


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_workers_end_with_the_program(tmp_path, number):
    process, watched = begun(CELLS, tmp_path)
    until(lambda: at_work(watched) >= 2)
    said, taken = ended(process, number)
    assert "samattr: " in said.splitlines()[-1] and "Traceback" not in said
    assert taken < SECONDS, taken


@pytest.mark.slow
@pytest.mark.parametrize("busy", [0.0, 8.0])
def test_workers_do_not_outlive_a_killed_program(tmp_path, busy):
    """Neither while they import, nor when they have been at work for some seconds."""
    process, watched = begun(CELLS, tmp_path)
    until(lambda: at_work(watched) >= 2)
    time.sleep(busy)
    children = watched.children(recursive=True)
    process.kill()
    process.wait()
    until(lambda: not alive(children))
