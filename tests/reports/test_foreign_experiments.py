"""Experiments of other packages: one that cannot be drawn costs the page its own section and nothing else."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from baselines.studies.profiles import get_profile
from reports.committed import read_page
from reports.experiment import EXPERIMENTS, Measured, get_experiment
from reports.html import sections
from reports.job import Job
from reports.page import write


def broken(frame):
    raise ValueError("no axes")


broken.__module__ = "elsewhere"


@pytest.fixture
def experiments(monkeypatch):
    """One of the project's, and another package's that is like it but for its drawing."""
    own = get_experiment("fidelity")
    for kept in ("_things", "_homes"):
        monkeypatch.setattr(EXPERIMENTS, kept, dict(getattr(EXPERIMENTS, kept)))
    other = replace(own, name="other", draw=broken)
    EXPERIMENTS.add(other.name, other, "elsewhere")
    return own, other


def test_one_that_cannot_be_drawn_is_left_out_with_a_remark(experiments, tmp_path):
    frame = pd.DataFrame({"workload": "w", "seed": [0, 1], "n_train": 60, "method": "if", "spearman": 0.5})
    frame = frame.assign(pearson=0.5, status="ok")
    environment = dict.fromkeys(("cpu", "cores", "gpu", "system", "python", "torch", "threads", "numpy", "samattr"), 1)
    measured = [Measured(each, frame, 1.0, [environment], [], "samattr", 2) for each in reversed(experiments)]
    out = tmp_path / "quick"
    for _ in range(2):  # the second time over what the first one left
        write(Job(get_profile("quick"), ("fidelity", "other")), None, measured, out)
    (said,) = measured[0].failures
    assert (
        said.startswith("other cannot be drawn: ValueError: no axes, at test_foreign_experiments.py:")
        and measured[1].failures == []
    )
    assert said in (out / "report.md").read_text() and said in sections.missing(read_page(out))
    assert list(json.loads((out / "sections.json").read_text())) == ["fidelity"]
    assert (out / "fidelity.png").exists() and not (out / "other.png").exists()
    pd.testing.assert_frame_equal(pd.read_csv(out / "other.csv"), frame)
    assert [figure.name for figure in sections.figures(read_page(out))] == ["fidelity"]
