"""Results stand alone on standard output, whoever prints; where it is not taken, that is one line, or none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reports.cli.output import App, show, written

PRINTING = """
import os, subprocess, sys
from reports.cli.output import App, show, written

kept = sys.stdout
app = App()

@app.command()
def results():
    print("by Python")
    kept.write("by who kept the stream\\n")
    os.write(1, b"by the system\\n")
    subprocess.run(["echo", "by another process"])
    show("a result")
    print("after it")

with written(sys.stdout):
    app()
"""


@pytest.mark.slow
def test_results_stand_alone_whoever_prints(tmp_path):
    (tmp_path / "printing.py").write_text(PRINTING)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, tmp_path / "printing.py"]
    done = subprocess.run(command, env=environment, text=True, capture_output=True)
    assert (done.returncode, done.stdout) == (0, "a result\n")
    said = {"by Python", "by who kept the stream", "by the system", "by another process", "after it"}
    assert set(done.stderr.splitlines()) == said


@pytest.mark.parametrize(
    "arguments",
    [
        ("workloads",),
        ("methods", "--json"),
        ("store", "ls", "--json"),
        ("--help",),
        ("truth", "--help"),
        ("--version",),
        pytest.param(("leaderboard",), marks=pytest.mark.slow),
    ],
)
def test_output_that_is_not_taken_is_one_line(samattr, monkeypatch, arguments):
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        status, _, said = samattr(*arguments)
    assert (status, said) == (1, "samattr: the output could not be written (No space left on device)\n")


@pytest.mark.parametrize("arguments", [("workloads",), ("methods", "--json"), ("--help",)])
def test_a_reader_that_went_away_ends_it_silently(samattr, monkeypatch, arguments):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        status, _, said = samattr(*arguments)
    assert (status, said) == (1, "")


def test_what_goes_wrong_otherwise_is_not_said_of_the_output():
    with pytest.raises(FileNotFoundError), written(sys.stdout):
        Path("/nowhere/at/all").read_text()


def test_a_command_without_streams_ends_as_ever(monkeypatch):
    """As under a scheduler that closes them."""
    app = App()
    app.command()(lambda: show("a result"))
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    with pytest.raises(SystemExit) as ended, written(sys.stdout):
        app([])
    assert ended.value.code == 0
