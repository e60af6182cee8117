"""What must be known of a number stands beside it: in validations, on the leaderboard, in tables, pages and figures."""

import json
from dataclasses import replace

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch

import baselines
import samattr_ref as sr
from baselines import chaotic, engines, kept
from baselines.chaotic import growth_of, with_growth
from baselines.diverged import whole
from baselines.keeping import keep_in_parts
from baselines.leaderboard.entry import make_row
from baselines.leaderboard.row import read_row, write_row
from baselines.removal_measures import _without
from baselines.studies.agreement import agreement
from baselines.studies.profiles import Profile, Results
from baselines.truth import single_points, single_points_name
from reports import scatter, table
from reports.experiment import Measured, get_experiment
from reports.html import boards
from reports.marks import footnote_of, marked_in, sign_figure, signed_table
from reports.page import read_values, write_experiment
from reports.standings import Form, standings
from samattr_ref.marks import CHAOTIC
from samattr_ref.methods import sam_unrolled
from tests.conftest import small

STUCK = "the solver cg stopped at residual 1.2 after 50 iterations (max iterations)"
METHOD = """
import samattr_ref as sr


def stuck(run, queries):
    products = run.objective.sample_gradients(run.parameters, run.train.x, run.train.y) @ run.query_gradients(queries).T
    said = {"solver": "cg", "status": "max_iterations", "residual": 1.2, "iterations": 50}
    return sr.Scores(products / run.n_train, said)


def gone(run, queries):
    scores = stuck(run, queries).values
    scores[3, 2] = float("nan")
    return scores
"""
CHAOS = {"hidden": (8,), "momentum": 0.95, "learning_rate": 1.0}
"""Of a small digits-mlp: its adjoint grows two hundredfold."""


@pytest.fixture
def stuck(tmp_path):
    (tmp_path / "stuck.py").write_text(METHOD)
    return f"{tmp_path / 'stuck.py'}:stuck"


@pytest.fixture
def diverging(monkeypatch, fresh_store):
    """Three of the retrainings end in NaN."""
    retrain = engines.retrain

    def spoiled(run, groups, *plan):
        found = retrain(run, groups, *plan)
        lost = [len(group) == 1 and int(group) in (2, 3, 5) for group in groups]
        found[torch.tensor(lost)] = torch.nan
        return found

    monkeypatch.setattr("baselines.truth.retrain", spoiled)


def shown(results):
    """The accuracy table of some results, and the figure of one workload's points."""
    made = Results(Profile("mine", (), (0,)), results, [])
    frame = scatter.compute(made, results[0].workload)
    figure = scatter.draw(frame)
    sign_figure(figure, {label for _, label in marked_in(made.tidy())})
    titles = [axis.get_title() for axis in figure.axes if axis.axison]
    plt.close(figure)
    return table.to_markdown(table.compute(made)), titles


def test_a_solver_that_did_not_converge_is_marked_in_text_json_table_and_figure(stuck, samattr):
    workload = small()
    sizes = [f"--set={name}={value}" for name, value in {"n_train": 60, "steps": 40, "n_removed": 6}.items()]
    asked = ["validate", stuck, "--workload", "digits-logreg", *sizes]
    assert json.loads(samattr(*asked, "--json")[1])["marks"] == [STUCK]
    code, text, _ = samattr(*asked)
    assert code == 0 and f'marks              ["{STUCK}"]' in text
    result, other = baselines.validate(stuck, workload), baselines.validate("grad-dot", workload)
    assert result.marks == [STUCK] and other.marks == []
    text, titles = shown([result, other])
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    assert rows[2:] == [f"{stuck} †", "Grad-Dot"] and f"\n† {stuck}: {STUCK}.\n" in text
    assert titles == [f"{stuck} †", "Grad-Dot"]
    latex = table.to_latex(table.compute(Results(Profile("mine", (), (0,)), [result], [])), "Said.")
    assert r"$^\dagger$" in latex and "†" not in latex


def test_a_series_that_was_cut_far_from_the_solution_is_marked():
    run = sr.train(small())
    far = sr.attribute(run, "sam-hif-fast", order=1).diagnostics
    assert far["status"] == "truncated"
    assert sr.marks_of(far) == [f"the solver neumann stopped at residual {far['residual']:.2g} after 2 iterations"]
    assert sr.marks_of(sr.attribute(run, "sam-hif-fast", order=3000, damping=0.3).diagnostics) == []
    assert sr.marks_of(sr.attribute(run, "sam-if").diagnostics) == []


def test_a_chaotic_run_is_said_once_and_marks_what_follows_it(caplog, monkeypatch):
    monkeypatch.setattr(sam_unrolled, "_told", set())
    run = sr.train(small("digits-mlp", **CHAOS))
    with caplog.at_level("WARNING", "samattr"):
        scores = sr.attribute(run, "sam-unrolled")
        sr.attribute(run, "sam-unrolled")
    said = f"the run is chaotic (its adjoint grew {scores.diagnostics['growth']:,.0f}-fold), and no score of it"
    assert scores.diagnostics["growth"] > CHAOTIC and caplog.text.count(f"digits-mlp, seed 0: {said}") == 1
    assert "a warm-up or less momentum tame a run" in caplog.text
    (mark,) = sr.marks_of(scores.diagnostics)
    assert mark.startswith(said)
    calm = sr.train(small("digits-mlp", hidden=(8,)))
    assert sr.marks_of(sr.attribute(calm, "sam-unrolled").diagnostics) == []


def test_a_change_that_no_derivative_can_tell_is_said(caplog, monkeypatch):
    monkeypatch.setattr(sam_unrolled, "_told", set())
    run = sr.train(small("digits-mlp", hidden=(8,), momentum=0.95, learning_rate=1.0, steps=80))
    with caplog.at_level("WARNING", "samattr"):
        change = sr.parameter_change(run, "sam-unrolled", [[0], [1]])
    assert change.norm(dim=1).max() > run.parameters.norm()
    assert "times as long as the parameters, which no derivative can tell" in caplog.text


@pytest.fixture
def wide():
    """The recipe that a page once showed."""
    return sr.Workload(
        "digits-wide",
        sr.Digits(n_train=300, n_query=20, noise=sr.LabelNoise(fraction=0.2)),
        sr.MLP(hidden=(64, 32), activation="gelu"),
        sr.SamRecipe(rho=0.1, steps=300, learning_rate=0.3, momentum=0.9, schedule="cosine"),
        n_removed=2,
    )


def test_whatever_the_method_the_program_says_that_a_run_cannot_be_attributed(wide, fresh_store, monkeypatch, samattr):
    """Though the method itself knows nothing of it."""
    monkeypatch.setattr("samattr_ref.catalogue.load_workload", lambda name, seed: wide)
    code, out, _ = samattr("validate", "loss", "--workload", "digits-wide", "--json")
    found = json.loads(out)
    (mark,) = found["marks"]
    assert code == 0 and mark.startswith("the run is chaotic (its adjoint grew")
    assert found["diagnostics"]["run"]["growth"] > 1000
    monkeypatch.setattr(chaotic, "attribute", None)  # it is found again
    assert growth_of(wide) == found["diagnostics"]["run"]["growth"]


def test_retrainings_that_diverged_mark_every_method(diverging, samattr):
    workload = small(n_removed=None)
    mark = "3 of 60 retrainings diverged and are left out"
    results = [baselines.validate(name, workload) for name in ("loo", "grad-dot")]
    assert [result.marks for result in results] == [[mark], [mark]] and results[1].n_removed == 57
    assert "| Grad-Dot †  " in shown(results)[0] and f"† Grad-Dot: {mark}." in shown(results)[0]
    assert agreement(baselines.leave_one_out(sr.train(workload)), "grad-dot", {})["marks"] == mark
    values = torch.zeros(60, 7, dtype=torch.float64)
    assert baselines.validate_scores(values, workload).marks == [mark]

    run = sr.train(workload)  # what needs each retraining is refused: groups would be taken for one another
    with pytest.raises(sr.SamattrError, match="3 of 60 retrainings of digits-logreg diverged, and each is needed here"):
        whole(baselines.leave_one_out(run))
    with pytest.raises(sr.SamattrError, match="1 of 2 retrainings"):
        _without(run, [torch.tensor([1]), torch.tensor([2])])


@pytest.fixture
def tiny(tmp_path, monkeypatch, registering):
    """A workload whose truth is kept in place of those that come with the project."""
    made = sr.register_workload(
        sr.Workload("tiny", sr.Digits(n_train=60, n_query=9), sr.MLP((8,)), sr.SamRecipe(steps=20), n_removed=8)
    )
    monkeypatch.setattr(kept, "FOLDER", tmp_path / "kept")
    run = sr.train(made)
    keep_in_parts(run, single_points_name(run.workload), single_points(run), kept.FOLDER)
    return made


def test_the_growth_of_a_run_whose_truth_comes_with_samattr_is_not_measured(tiny, monkeypatch):
    monkeypatch.setattr(chaotic, "growth_of", None)
    result = baselines.validate("loss", tiny)
    assert with_growth(result, tiny) is result


def test_scores_that_are_not_finite_are_refused_and_leave_nothing(tiny, stuck, samattr, tmp_path):
    gone = stuck.replace(":stuck", ":gone")
    rows = tmp_path / "rows"
    for asked in (["validate", gone], ["leaderboard", "--add", gone, "--seeds", "0", "--rows", str(rows)]):
        code, out, said = samattr(*asked, "--workload", "tiny")
        assert (code, out) == (1, "") and said.splitlines()[-1] == "samattr: gone returned NaN or infinity"
    assert not rows.exists()
    found = agreement(baselines.leave_one_out(sr.train(tiny)), gone, {})
    assert found == {"status": f"{gone} returned NaN or infinity"}


def test_a_marked_row_of_the_leaderboard_has_its_footnote(tiny, stuck, tmp_path, monkeypatch):
    rows = [make_row(name, "tiny", seeds=(0,)) for name in (stuck, "grad-dot")]
    assert [row.seeds[0].marks for row in rows] == [[STUCK], []]
    rows = [read_row(write_row(row, tmp_path)) for row in rows]
    text = standings(rows, Form.MARKDOWN)
    assert "| stuck †  " in text and f"\n\n† stuck: {STUCK}.\n\n" in text and "Grad-Dot †" not in text
    found = {row["method"]: row["marks"] for row in json.loads(standings(rows, Form.JSON))["workloads"]["tiny"]}
    assert found == {"stuck": [STUCK], "grad-dot": []}
    assert STUCK in standings(rows, Form.CSV)
    path = tmp_path / "tiny" / "stuck.json"
    content = json.loads(path.read_text())
    for seed in content["seeds"]:
        del seed["marks"]
    path.write_text(json.dumps(content))  # as rows were before
    old = read_row(path)
    assert old.seeds[0].marks is None and "†" not in standings([old, rows[1]], Form.MARKDOWN)
    content["seeds"][0]["marks"] = "some"
    path.write_text(json.dumps(content))
    with pytest.raises(sr.SamattrError, match="the marks of seed 0 are not a list of reasons in words"):
        read_row(path)
    monkeypatch.setattr(boards, "read_rows", lambda _: rows)
    labels = {row["label"]: row["note"] for row in boards.shipped()["tiny"]}
    assert labels == {"stuck †": STUCK, "Grad-Dot": ""}


def test_a_page_of_validations_keeps_its_marks(stuck, tmp_path):
    results = [baselines.validate(stuck, small(), seed) for seed in (0, 1)]
    made = Results(Profile("mine", (), (0, 1)), [results[0], replace(results[1], diagnostics={})], [])
    made.tidy().to_parquet(tmp_path / "results.parquet")
    values = read_values(tmp_path)
    reason = f"{STUCK} (1 of 2 seeds are marked)"
    assert marked_in(values) == {("digits-logreg", stuck): [reason]}
    rows = boards.boards(values)
    assert {(row["label"], row["note"]) for row in rows} == {(f"{stuck} †", reason)}
    assert marked_in(values.drop(columns="marks")) == {}
    assert {row["label"] for row in boards.boards(values.drop(columns="marks"))} == {stuck}


def test_an_experiment_has_its_marks_in_table_figure_and_page(tmp_path):
    """Rows as `agreement` gives them, one of them marked; on the other workload the same method is not."""
    cells = [(name, method, seed) for name in ("v", "w") for method in ("sam-unrolled", "if") for seed in (0, 1)]
    frame = pd.DataFrame(
        {
            "workload": [name for name, _, _ in cells],
            "seed": [seed for _, _, seed in cells],
            "n_train": 60,
            "method": [method for _, method, _ in cells],
            "spearman": 0.5,
            "pearson": 0.5,
            "status": "ok",
            "marks": ["it grew" if cell == ("w", "sam-unrolled", 1) else "" for cell in cells],
        }
    )
    experiment = get_experiment("fidelity")
    section, text = write_experiment(Measured(experiment, frame, 1.0, [], [], "samattr", 8), tmp_path)
    note = "† SAM unrolled on w: it grew (1 of 2 seeds are marked)."
    assert note in text and note in section and note in (tmp_path / "fidelity.md").read_text()
    shown = [[cell.strip() for cell in line.split("|")[1:3]] for line in text.splitlines() if line.startswith("| ")]
    assert ["w", "SAM unrolled †"] in shown and ["v", "SAM unrolled"] in shown and ["w", "IF"] in shown
    again = pd.read_csv(tmp_path / "fidelity.csv")
    assert footnote_of(marked_in(again)) == note
    figure = experiment.draw(again)
    sign_figure(figure, {label for _, label in marked_in(again)})
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["SAM unrolled †", "IF"]
    plt.close(figure)
    without = frame.drop(columns="marks")
    assert signed_table(experiment.tabulate(without), marked_in(without)).equals(experiment.tabulate(frame))
