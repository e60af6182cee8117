"""Bars on a terminal, a line every half minute elsewhere, and nothing where that was asked for."""

import io
import os
import re
import subprocess
import sys
import time
from contextlib import redirect_stderr

import pytest

from samattr_ref.support import progress

SECONDS = 0.05


@pytest.fixture
def reporter(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS", SECONDS)
    monkeypatch.setattr(progress, "REPORTER", progress.Reporter())
    return progress.REPORTER


def test_what_takes_long_is_said_line_by_line(reporter, capsys):
    for _ in progress.track(range(2), "outer", done=3):
        for _ in progress.track(range(3), "inner"):
            time.sleep(SECONDS)
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 7
    for line in lines:
        assert re.fullmatch(
            r"outer: [34] of 5, 00:00 so far(, about 00:00 left)?"
            r"(; inner: [0-3] of 3, 00:00 so far(, about 00:00 left)?)?",
            line,
        )
    assert any("outer: 4 of 5" in line and "left" in line for line in lines)
    assert reporter.works == []


def test_it_is_said_also_while_a_library_is_not_heard(reporter, capsys):
    outer, inner = progress.working("scores by a library"), progress.working("a part of them")
    with outer, redirect_stderr(io.StringIO()) as unheard, inner:
        time.sleep(4 * SECONDS)
    assert "scores by a library: 00:00 so far; a part of them: 00:00 so far\n" in capsys.readouterr().err
    assert unheard.getvalue() == ""


def test_what_is_left_is_guessed_by_what_was_done_here():
    work = progress.Work("retraining", 500, 300, 200)
    work.began -= 120
    assert str(work) == "retraining: 300 of 500, 02:00 so far, about 04:00 left"
    work = progress.Work("scores")
    work.began -= 3700
    assert str(work) == "scores: 1:01:40 so far"


def test_what_is_short_is_not_said(reporter, capsys):
    progress.SECONDS = 0.5
    assert list(progress.track([1, 2], "short")) == [1, 2]
    assert capsys.readouterr().err == ""


def test_nothing_is_said_after_silence(reporter, capsys):
    progress.silence()
    for _ in progress.track(range(3), "work"):
        time.sleep(2 * SECONDS)
    assert capsys.readouterr().err == ""


def test_work_that_is_left_by_an_error_is_over(reporter):
    with pytest.raises(ValueError, match="x"), progress.working("work"):
        assert len(reporter.works) == 1
        raise ValueError("x")
    assert reporter.works == []


def test_a_terminal_has_a_bar(reporter, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    for _ in progress.track(range(3), "work"):
        pass
    assert "work" in terminal.getvalue() and "\r" in terminal.getvalue()
    assert reporter.works == []


@pytest.mark.slow
def test_the_program_says_how_far_it_is_and_is_silent_when_asked(tmp_path):
    """As a job of a queue has it: standard error is a file."""
    code = "import sys; from samattr_ref.support import progress; progress.SECONDS = 0.2\n"
    code += "from reports.cli import main; sys.argv[0] = 'samattr'; main()"
    words = ["truth", "digits-logreg", "--set", "n_train=150", "--set", "dtype=float64"]
    for more, said in (([], True), (["--quiet"], False)):
        environment = {**os.environ, "SAMATTR_STORE": str(tmp_path / str(said)), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", code, *words, *more]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert ("so far" in done.stderr) == said
        assert "\r" not in done.stderr
        assert said or done.stderr == ""
        assert "replay_error" in done.stdout
