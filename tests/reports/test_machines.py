"""Times of several machines: a caption says which are of which, and no verdict compares one machine with another."""

import json
from dataclasses import replace

import pytest

from baselines.studies.profiles import get_profile
from reports import claims, machines
from reports.committed import read_page
from reports.job import Job
from reports.page import write
from samattr_ref.support.environment import environment
from tests.reports.test_claims import FALLING, NAMES, edits
from tests.reports.test_load import part_of

FIRST, SECOND = "One, 2 cores", "Another, 2 cores"


def timed(methods=(), seeds=(0, 1, 2)):
    """Edits whose times fall in the paper's order, those of some methods at some seeds of a second machine."""
    frame = edits(dict.fromkeys(NAMES, 0.9), FALLING)
    away = frame["method"].isin(methods) & frame["seed"].isin(seeds)
    return frame.assign(machine=away.map({True: SECOND, False: FIRST}))


def test_a_caption_says_which_times_are_of_another_machine():
    assert machines.remark(timed()) == ""
    assert machines.remark(timed().drop(columns="machine")) == ""
    assert machines.remark(timed(("if", "sam-gif"), (1,))) == (
        f" Times compare within one machine alone; on {SECOND}: w, seed 1 (SAM-GIF, IF); on {FIRST}: all others."
    )
    part = part_of("editing", "desk")
    last = part.frame["workload"] == part.frame["workload"].iloc[-1]
    moved = replace(part, frame=part.frame.assign(machine=last.map({True: SECOND, False: FIRST})))
    assert moved.caption == part.caption + machines.remark(moved.frame) != part.caption


@pytest.mark.parametrize(
    ("methods", "seeds", "verdict"),
    [
        (NAMES, (1, 2), "holds"),  # each seed is of one machine
        (("sam-if", "tracin"), (0, 1, 2), "holds"),  # the claim is not about these
        (("sam-gif",), (0,), "holds"),  # two seeds are left
        (("sam-gif",), (0, 1), "undecided"),
        (("sam-hif", "sam-hif-fast"), (0, 1, 2), "undecided"),
    ],
)
def test_runtimes_of_two_machines_decide_nothing(methods, seeds, verdict):
    assert claims._runtime(timed(methods, seeds)).verdict == verdict


def test_each_section_keeps_the_machines_that_it_was_measured_on(tmp_path):
    here, out = environment(), tmp_path / "desk"
    other = here | {"cpu": "Another"}
    out.mkdir()
    for name, machine in (("editing", here), ("top-removal", other)):
        job = Job(get_profile("desk"), (name,))
        write(job, None, [replace(part_of(name, "desk"), environments=[machine])], out)
    assert json.loads((out / "provenance.json").read_text())["environments"] == [here, other]
    editing, removal = read_page(out, ["editing", "top-removal"]).measured
    assert (editing.environments, removal.environments) == ([here], [other])
