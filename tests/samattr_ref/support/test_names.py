"""Names from outside lead to no file but their own."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import samattr_ref as sr
from baselines.leaderboard.entry import ROWS
from baselines.leaderboard.row import read_row, read_rows, write_row
from samattr_ref.support.names import check_name

HOSTILE = ["../x", "/etc/x", "a/b", "a\\b", ".hidden", "..", "", "x" * 101, "a\nb", "a\0b", "\u202eabc"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused(name, tmp_path):
    with pytest.raises(sr.SamattrError, match="the name of a workload"):
        sr.Workload(name, sr.Digits(), sr.MLP((8,)))
    row = read_row(next(Path(ROWS).glob("*/*.json")))
    for field in ("method", "workload"):
        with pytest.raises(sr.SamattrError, match="the name of a"):
            write_row(replace(row, **{field: name}), tmp_path / "rows")
    assert not list(tmp_path.rglob("*"))


@given(st.text(max_size=20))
def test_what_is_accepted_is_one_file_of_a_folder(name):
    try:
        check_name("a workload", name)
    except sr.SamattrError:
        return
    path = Path("/folder") / f"{name}.json"
    assert path.parent == Path("/folder") and path.resolve().parent == Path("/folder")


def test_the_names_in_use_are_accepted():
    for row in read_rows(ROWS):
        assert asdict(row)
    for name in sr.workloads():
        check_name("a workload", name)
