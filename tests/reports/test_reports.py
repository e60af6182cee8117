"""Tables and figures from a small profile: their structure, files and provenance."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import samattr_ref as sr
from baselines.studies import profiles
from baselines.studies.profiles import Profile, find_results, make_results
from reports import noise, page, scatter, table
from reports.experiment import Measured, get_experiment
from reports.job import Job
from samattr_ref.support.environment import environment

pytestmark = pytest.mark.slow

WORKLOAD = """
import samattr_ref as sr

tiny = sr.Workload(
    "tiny",
    sr.Digits(n_train=40, n_query=6, n_tuning=4, n_validation=5),
    sr.LogisticRegression(),
    sr.SamRecipe(steps=20),
    dtype="float64",
)
"""


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "tinyworkload.py"
    path.write_text(WORKLOAD)
    return Profile("tiny", (f"{path}:tiny",), (0, 1))


@pytest.fixture(scope="module")
def made(profile):
    return make_results(profile)


@pytest.mark.slow
def test_every_cell_is_made_and_found_again(profile, made):
    names = ["loo", *sr.methods()]
    assert not made.failures
    assert sorted((r.method, r.seed) for r in made.validations) == sorted((n, s) for n in names for s in (0, 1))
    found = find_results(profile)
    assert found.validations == made.validations


def test_tidy_rows(made):
    rows = made.tidy()
    assert list(rows.columns) == ["workload", "method", "seed", "marks", "metric", "value", "low", "high"]
    assert not rows.duplicated(["workload", "method", "seed", "metric"]).any()
    part = rows[(rows["method"] == "if") & (rows["metric"] == "spearman_per_query")]
    assert (part["low"] <= part["value"]).all()
    assert (part["value"] <= part["high"]).all()


def test_table(made):
    frame = table.compute(made)
    assert list(frame["method"]) == ["loo", *sr.methods()]
    row = frame.set_index("method").loc["sam-if"]
    values = [r.metrics["spearman_per_query"]["mean"] for r in made.validations if r.method == "sam-if"]
    assert row["spearman"] == pytest.approx(np.mean(values))
    assert row["spearman_low"] <= row["spearman"] <= row["spearman_high"]
    assert np.isnan(frame.set_index("method").loc["grad-dot", "cosine"])
    text = table.to_markdown(frame)
    assert "**tiny**" in text
    assert f"{row['spearman']:.3f} [{row['spearman_low']:.3f}, {row['spearman_high']:.3f}]" in text
    latex = table.to_latex(frame, "Over 95 % of ρ.")
    assert latex.count(r"\toprule") == 1
    assert r"95 \% of $\rho$" in latex


def test_scatter(made):
    frame = scatter.compute(made, "tiny")
    assert len(frame) == len(sr.methods()) * 2 * 40
    figure = scatter.draw(frame)
    panels = [axis for axis in figure.axes if axis.axison]
    assert len(panels) == len(sr.methods())
    assert all(len(axis.collections[0].get_offsets()) == 80 for axis in panels)
    plt.close(figure)


def test_noise_curve(made):
    frame = noise.compute(made)
    assert set(frame["method"]) == {"loo", *sr.methods()}
    figure = noise.draw(frame)
    solved, others = figure.axes  # with exact leave-one-out in both
    assert len(solved.lines) + len(others.lines) == 2 + len(sr.methods())
    assert others.get_xlabel() == "share inspected"
    plt.close(figure)


def test_page(profile, made, tmp_path):
    job = Job(profile)
    text = page.write(job, made, [], tmp_path / "out")
    files = {path.name for path in (tmp_path / "out").iterdir()}
    figures = {f"{name}.{ending}" for name in ("scatter-tiny", "noise") for ending in ("pdf", "png", "csv")}
    tables = {"table.md", "table.csv", "table.tex", "results.parquet", "provenance.json", "sections.json", "report.md"}
    assert files == figures | tables
    origin = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert origin["command"] == "samattr reproduce --profile tiny"
    assert origin["seeds"] == [0, 1]
    assert origin["environments"][0]["torch"]
    report = (tmp_path / "out" / "report.md").read_text()
    assert text.strip() in report
    assert "40 of n = 40" in report
    assert len(pd.read_parquet(tmp_path / "out" / "results.parquet")) == len(made.tidy())
    page.write(Job(profile, ("noise",)), made, [], tmp_path / "one")
    assert not (tmp_path / "one" / "table.md").exists()


def test_a_page_names_the_experiments_that_have_further_seeds(profile, tmp_path):
    job = Job(profile, ("editing",))
    for count, said in ((2, "seeds 0, 1."), (3, "seeds 0, 1; editing: 0, 1, 2.")):
        frame = pd.DataFrame({"seed": range(count)})
        measured = Measured(get_experiment("editing"), frame, 1.0, [environment()], [], "samattr reproduce", count)
        page.write_page(job, {}, page._origin(job, None, [measured]), tmp_path)
        assert f"Made by `samattr reproduce --profile tiny`, {said}\n" in (tmp_path / "report.md").read_text()


@pytest.mark.slow
def test_a_page_is_put_together_part_by_part(profile, made, tmp_path):
    page.write(Job(profile), made, [], tmp_path / "whole")
    for name in ("noise", "table", "scatter"):
        page.write(Job(profile, (name,)), made, [], tmp_path / "parts")
    assert (tmp_path / "parts" / "report.md").read_text() == (tmp_path / "whole" / "report.md").read_text()
    other = Job(profile, ("noise",), settings={"rho": 0.1})
    page.write(other, made, [], tmp_path / "varied")
    report = (tmp_path / "varied" / "report.md").read_text()
    assert report.startswith("# samattr, profile tiny, but with rho=0.1\n")
    assert "samattr reproduce --profile tiny --set rho=0.1" in report
    assert "Missing" not in report  # what was not asked for is not missed


def test_a_failing_method_is_listed_and_stops_nothing(profile, monkeypatch, tmp_path):
    validate = profiles.validate

    def failing(method, workload):
        if method == "tracin":
            raise sr.SamattrError("it broke")
        return validate(method, workload)

    monkeypatch.setattr(profiles, "validate", failing)
    partial = make_results(profile)
    assert partial.failures == [f"tracin on tiny, seed {seed}: it broke" for seed in (0, 1)]
    page.write(Job(profile), partial, [], tmp_path)
    assert "- tracin on tiny, seed 0: it broke" in (tmp_path / "report.md").read_text()


def test_an_output_folder_in_the_way_is_named(profile, made, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(sr.SamattrError, match="choose another folder with --out"):
        page.write(Job(profile), made, [], tmp_path / "file")
