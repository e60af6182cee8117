"""The leaderboard: rows are checked, ranks follow paired intervals, and a row that says something else is found."""

import json
import re
from dataclasses import asdict, replace

import numpy as np
import pytest

import samattr_ref as sr
from baselines import kept
from baselines.keeping import keep_in_parts
from baselines.leaderboard import entry
from baselines.leaderboard.entry import ROWS, check_truths, make_row, verify_row
from baselines.leaderboard.ranking import across, ranking
from baselines.leaderboard.row import Row, Seed, read_row, read_rows, write_row
from baselines.truth import single_points, single_points_name
from reports.load import SAID
from reports.standings import Form, standings
from samattr_ref.support import progress
from samattr_ref.support.timing import DISTURBED

SHIPPED = read_rows(ROWS)


def made(method, shift, workload="w", spread=0.0, truth="t", tuned=True):
    """A row whose values are those of one set of queries, shifted."""
    rng, own = np.random.default_rng(0), np.random.default_rng(sum(map(ord, method)))
    seeds = [
        Seed(
            seed=seed,
            recipe="r",
            truth=f"{truth}{seed}",
            options={"damping": 0.1},
            per_query={"spearman": (rng.uniform(0.2, 0.6, 20) + shift + spread * own.normal(size=20)).tolist()},
            metrics={"slope": 1.0},
            runtime_s=1.0,
            trainings=2.0,
            peak_memory_bytes=2**20,
        )
        for seed in (0, 1, 2)
    ]
    return Row(method, workload, tuned, "says so", "a paper", seeds, {"torch": "2"})


def test_a_method_leads_another_only_where_the_paired_interval_excludes_zero():
    """`b` is worse than `a` by the same on every query, far less than queries differ; `c` is told apart from none."""
    rows = [made("b", 0.0), made("a", 0.02), made("d", -0.2), made("c", 0.01, spread=0.2)]
    found = ranking(rows).set_index("method")
    assert found.loc[["a", "c", "d"], "rank"].tolist() == [1, 1, 4]
    assert found.loc["b", "behind"] == ["a"] and found.loc["b", "rank"] == 2
    assert found.index.tolist()[0] in ("a", "c") and found.index.tolist()[-1] == "d"
    assert (found["high"] - found["low"]).loc["a"] < 0.3  # wider than the difference that tells a and b apart
    assert (found["low"] <= found["spearman"]).all() and (found["spearman"] <= found["high"]).all()


def test_over_workloads_methods_have_a_mean_rank_and_a_probability_of_improvement():
    rows = [made(name, shift, workload) for workload in ("v", "w") for name, shift in (("a", 0.1), ("b", 0.0))]
    rows.append(made("of one workload", 0.3, "w"))
    found = across(rows).set_index("method")
    assert found.index.tolist() == ["a", "b"]
    assert found.loc["a", ["mean_rank", "improvement", "runs"]].tolist() == [1, 1, 6]
    assert found.loc["b", ["mean_rank", "improvement"]].tolist() == [2, 0]
    tied = across([made(name, 0.0, workload) for workload in ("v", "w") for name in ("a", "b")])
    assert tied["improvement"].tolist() == [0.5, 0.5] and tied["mean_rank"].tolist() == [1.5, 1.5]


def test_rows_of_other_truths_are_not_compared():
    with pytest.raises(sr.SamattrError, match="'b' and 'a' of w are of other ground truths") as raised:
        ranking([made("a", 0.0), made("b", 0.0, truth="other")])
    assert "\n" not in str(raised.value)
    fewer = made("b", 0.0)
    fewer.seeds[1].per_query["spearman"].pop()
    with pytest.raises(sr.SamattrError, match="of other ground truths, seeds or queries"):
        ranking([made("a", 0.0), fewer])


def test_damaged_truths_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "FOLDER", tmp_path)
    (tmp_path / "w-loo-5-uniform-r.json").write_text("{")
    with pytest.raises(sr.SamattrError, match="is damaged: fetch it again, or install samattr anew"):
        check_truths(made("a", 0.0))


def test_a_row_is_read_as_it_was_written(tmp_path):
    for row in (made("a", 0.0), made("a", 0.1, tuned=False)):
        assert read_row(write_row(row, tmp_path)) == row
    assert {row.name for row in read_rows(tmp_path, "w")} == {"a", "a (defaults)"}
    assert read_rows(tmp_path, "v") == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: row.pop("method"), "method"),
        (lambda row: row.update(colour="red"), "it has 'colour', which no row has"),
        (lambda row: row.update(version=0), "it is of version 0, not 1"),
        (lambda row: row.update(workload="v"), "holds the row v/a.json: name it so"),
        (lambda row: row.update(seeds=[]), "it has no seed"),
        (lambda row: row["seeds"][0]["per_query"].update(spearman=["high"]), "not a finite number on every query"),
        (lambda row: row["seeds"][0]["per_query"].update(spearman=[float("nan")]), "not a finite number"),
        (lambda row: row["seeds"][0].update(per_query={}), "has no 'spearman' of each query"),
        (lambda row: row["seeds"][0]["per_query"].update(pearson=[1.0]), "not of the same queries"),
        (lambda row: row["seeds"][0].update(trainings=-1), "costs of seed 0"),
        (lambda row: row["seeds"][0].update(load="much", disturbed=True), "seed 0 has no load from 0 to 1"),
        (lambda row: row["seeds"][0].update(load=2.0, disturbed=True), "seed 0 has no load from 0 to 1"),
        (lambda row: row["seeds"][0].update(load=0.5), "and whether that is 'disturbed'"),
        (lambda row: row["seeds"].append(row["seeds"][0]), "or one twice"),
    ],
)
def test_what_is_no_row_is_one_line(change, said, tmp_path):
    content = asdict(made("a", 0.0))
    change(content)
    path = tmp_path / "w" / "a.json"
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    with pytest.raises(sr.SamattrError, match=said) as raised:
        read_row(path)
    assert "\n" not in str(raised.value)


def test_a_row_with_scores_that_are_not_finite_is_not_written(tmp_path):
    row = made("a", 0.0)
    row.seeds[0].per_query["spearman"][3] = float("nan")
    with pytest.raises(sr.SamattrError, match="not a finite number"):
        write_row(row, tmp_path)
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize("row", SHIPPED, ids=lambda row: f"{row.workload}-{row.name}")
def test_every_row_that_comes_with_the_project_is_of_its_truths(row):
    check_truths(row)
    assert [one.seed for one in row.seeds] == list(entry.SEEDS)
    other = replace(row, seeds=[replace(row.seeds[0], truth="0" * 64), *row.seeds[1:]])
    with pytest.raises(sr.SamattrError, match="is of another ground truth at seed 0"):
        check_truths(other)


def test_every_method_of_the_project_has_a_row():
    for workload in {row.workload for row in SHIPPED}:
        there = {row.name for row in SHIPPED if row.workload == workload}
        tunable = {f"{name} (defaults)" for name, method in sr.methods().items() if method.tune}
        assert {*sr.methods(), *tunable} <= there, workload


def test_the_leaderboard_is_written_in_three_forms():
    rows = [made(name, shift, workload) for workload in ("v", "w") for name, shift in (("a", 0.1), ("b", 0.0))]
    text = standings(rows, Form.MARKDOWN)
    assert "**v**" in text and "**over all**" in text and "damping=0.1" in text
    assert standings(rows, Form.CSV).splitlines()[0].startswith("rank,method,tuned,spearman,low,high,trainings")
    found = json.loads(standings(rows, Form.JSON))
    assert [row["method"] for row in found["workloads"]["w"]] == ["a", "b"]
    assert [row["method"] for row in found["overall"]] == ["a", "b"]
    with pytest.raises(sr.SamattrError, match="has no row: add one with --add METHOD"):
        standings([], Form.MARKDOWN)


def test_costs_that_were_disturbed_are_marked(tmp_path):
    """On one seed of three; rows of before it was measured are not marked."""
    row = made("a", 0.1)
    loads = [{"load": 0.02, "disturbed": False}, {"load": 0.4, "disturbed": True}, {}]
    row = replace(row, seeds=[replace(one, **load) for one, load in zip(row.seeds, loads, strict=True)])
    rows = [read_row(write_row(row, tmp_path)), made("b", 0.0)]
    text = standings(rows, Form.MARKDOWN)
    assert [line.split("|")[4].strip() for line in text.splitlines() if line.startswith("|")][2:] == [
        "2.000 *",
        "2.000",
    ]
    assert text.endswith(SAID)
    assert SAID not in standings(rows[1:], Form.MARKDOWN)
    (found,) = json.loads(standings(rows, Form.JSON))["workloads"].values()
    assert [row["disturbed"] for row in found] == [True, False]
    assert "disturbed" in standings(rows, Form.CSV).splitlines()[0].split(",")


@pytest.mark.slow
def test_a_row_is_made_and_made_again(tmp_path, monkeypatch, registering, capsys):
    """Of a small workload whose truth is kept in place of those that come with the project."""
    tiny = sr.register_workload(
        sr.Workload("tiny", sr.Digits(n_train=60, n_query=9), sr.MLP((8,)), sr.SamRecipe(steps=40))
    )
    monkeypatch.setattr(kept, "FOLDER", tmp_path / "kept")
    for seed in (0, 1):
        run = sr.train(replace(tiny, seed=seed))
        keep_in_parts(run, single_points_name(run.workload), single_points(run), kept.FOLDER)
    monkeypatch.setattr(progress, "SECONDS", 0.05)
    monkeypatch.setattr(progress, "REPORTER", progress.Reporter())
    row = make_row("sam-if", "tiny", seeds=(0, 1))
    lines = capsys.readouterr().err.splitlines()
    assert any(re.match(r"seeds of sam-if on tiny: 1 of 2, 00:\d\d so far, about 00:\d\d left", line) for line in lines)
    monkeypatch.setattr(progress, "SECONDS", 30.0)
    defaults = make_row("sam-if", "tiny", tuned=False, seeds=(0, 1))
    assert row.truths == defaults.truths and row.tuned and not defaults.tuned
    assert all(0 <= one.load <= 1 and one.disturbed == (one.load > DISTURBED) for one in row.seeds)
    assert set(row.seeds[0].options) >= {"damping", "curvature"} and row.seeds[0].trainings > 0
    assert np.mean(row.values()) >= np.mean(defaults.values()) - 0.1
    found = verify_row(read_row(write_row(row, tmp_path)))
    assert found.difference < 1e-4
    row.seeds[1].per_query["spearman"][2] -= 0.05
    with pytest.raises(sr.SamattrError, match=r"could not be made again: its spearman is 0.050 off on a query"):
        verify_row(row)
    with pytest.raises(sr.SamattrError, match="chooses no option: it has one row"):
        make_row("grad-dot", "tiny", tuned=False, seeds=(0,))
    with pytest.raises(sr.SamattrError, match="no ground truth of tiny with seed 2 comes with samattr"):
        make_row("grad-dot", "tiny", seeds=(2,))
