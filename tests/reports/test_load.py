"""A time that other programs disturbed is marked wherever it is written, and what was not measured is not marked."""

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from baselines.studies.profiles import get_profile
from reports import table
from reports.committed import read_page, read_rows
from reports.experiment import Measured, get_experiment
from reports.html import boards
from reports.html.sections import figures
from reports.job import Job
from reports.load import SAID
from reports.page import write
from samattr_ref.support.environment import environment

REFERENCE = Path(__file__).parents[2] / "reports" / "reference"
VALUES = pd.read_parquet(REFERENCE / "quick" / "results.parquet").query("method in ['sam-gif', 'sam-if', 'if']")
FACTS = read_rows(REFERENCE / "quick" / "table.csv")

TIMED = {
    "cost": ("beyond", ["Mean query", "64 queries"]),
    "complexity": ("desk", ["Measured exponent"]),
    "editing": ("desk", ["Seconds", "Seconds, all groups"]),
    "full-size": ("large", ["Minutes"]),
    "networks": ("real", ["Seconds"]),
    "retraining": (
        "beyond",
        ["A retraining (ms)", "Times faster than the loop", "GFLOP/s", "Share of the machine's rate"],
    ),
}


def part_of(name, page):
    """A section's rows without what is known of their load, which is another one whenever the page is made again."""
    frame = read_rows(REFERENCE / page / f"{name}.csv").drop(columns="disturbed", errors="ignore")
    if name == "editing":  # of a long table a part
        frame = frame[(frame["kind"] == "random") & (frame["fraction"] == 0.1)]
    return Measured(get_experiment(name), frame, 1.0, [], [], "", 1)


@pytest.mark.parametrize("name", TIMED)
def test_tables_and_captions_mark_disturbed_times(name):
    page, columns = TIMED[name]
    part = part_of(name, page)
    plain = part.experiment.tabulate(part.frame)
    assert not plain.astype(str).apply(lambda column: column.str.contains("*", regex=False)).any().any()
    assert SAID not in part.caption
    disturbed = part.frame[part.frame.columns[0]] == part.frame[part.frame.columns[0]].iloc[0]
    flags = disturbed.astype(object).where(disturbed, None)  # of the others nothing is known
    marked = replace(part, frame=part.frame.assign(disturbed=flags))
    shown = part.experiment.tabulate(marked.frame)
    assert SAID in marked.caption
    changed = (shown.astype(str) != plain.astype(str)).any()
    assert set(changed[changed].index) == set(columns)
    for column in columns:
        cells = shown[column].astype(str)
        assert cells[cells.str.contains("*", regex=False)].str.endswith(" *").all()
        if "Workload" in shown:
            of_it = shown["Workload"].str.startswith(part.frame["workload"].iloc[0])
            assert cells[of_it & (plain[column] != "–")].str.endswith(" *").all()
            assert not cells[~of_it].str.endswith("*").any()


@pytest.mark.parametrize(("name", "page"), [("cost", "beyond"), ("retraining", "beyond")])
def test_answers_mark_them_too(name, page):
    part = part_of(name, page)
    answer = part.experiment.answer
    assert "*" not in answer(part.frame)
    marked = answer(part.frame.assign(disturbed=True))
    assert marked.replace(" *", "") == answer(part.frame)
    assert re.search(r"\d \* on digits-mlp", marked)


def test_how_long_a_section_took_beside_other_programs_is_said_wherever_it_stands(tmp_path):
    part = replace(part_of("top-removal", "desk"), seconds=120.0, environments=[environment()])
    for load, beside in ((None, False), (0.0, False), (0.05, False), (0.4, True)):
        out = tmp_path / str(load) / "desk"
        out.mkdir(parents=True)
        job = Job(get_profile("desk"), ("top-removal",))
        write(job, None, [replace(part, load=load)], out)
        text = (out / "report.md").read_text()
        assert ("2.0 minutes of measuring, beside other programs." in text) == beside
        assert ("2.0 minutes of measuring." in text) != beside
        (minutes,) = read_rows(out / "claims.csv")["Minutes"].astype(str)
        assert minutes == ("2.0 *" if beside else "2.0") and (SAID in text) == beside
        (again,) = read_page(out, ["top-removal"]).measured
        assert (again.load, again.disturbed) == (load, beside)
        assert [figure.disturbed for figure in figures(read_page(out))] == [beside]


def test_a_caption_that_names_a_time_marks_it():
    part = part_of("larger-removals", "beyond")
    caption = part.experiment.caption(part.frame.assign(disturbed=True))
    assert re.search(r"[\d.]+ \* plain trainings at w = 1, [\d.]+ \* at w = 1 − α", caption)


def with_a_disturbed_one():
    """What the page has, and of one method on one seed that its time was disturbed."""
    one = {"workload": "digits-mlp", "method": "sam-gif", "metric": "disturbed", "low": None, "high": None}
    flags = [{**one, "seed": seed, "value": value} for seed, value in ((0, 0.0), (1, 1.0), (2, 0.0))]
    return pd.concat([VALUES, pd.DataFrame(flags)], ignore_index=True)


def test_the_accuracy_table_marks_its_runtimes():
    plain, marked = (table.summarised(values, FACTS) for values in (VALUES, with_a_disturbed_one()))
    assert "disturbed" not in plain and SAID not in table.caption(plain)
    assert SAID in table.caption(marked)
    (row,) = [line for line in table.to_markdown(marked).splitlines() if " *" in line]
    assert re.search(r"\| SAM-GIF .*\d \* \|", row)
    assert (
        row.replace(" *", "  ").split()
        == next(line for line in reversed(table.to_markdown(plain).splitlines()) if "SAM-GIF" in line).split()
    )
    assert r"&" in table.to_latex(marked, "x") and table.to_latex(marked, "x").count(" *") == 1


def test_the_page_for_a_browser_marks_them():
    assert not any(row["starred"] for row in boards.boards(VALUES))
    marked = [row for row in boards.boards(with_a_disturbed_one()) if row["starred"]]
    assert [(row["workload"], row["metric"], row["label"]) for row in marked] == [
        ("digits-mlp", "Runtime (s)", "SAM-GIF")
    ]
