"""The program as a user types it: JSON for machines, one line for mistakes, exit statuses."""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import pytest
import safetensors.torch

import baselines
import samattr_ref as sr
from baselines import kept
from baselines.keeping import keep_in_parts
from baselines.studies import profiles
from baselines.truth import single_points, single_points_name

SMALL = [
    "--set",
    "n_train=40",
    "--set",
    "n_query=6",
    "--set",
    "n_tuning=4",
    "--set",
    "n_validation=5",
    "--set",
    "steps=20",
]


def test_lists(samattr):
    assert json.loads(samattr("methods", "--json")[1]) == list(sr.methods(optional=True))
    assert json.loads(samattr("workloads", "--json")[1]) == sr.workloads()
    assert "digits-mlp" in samattr("workloads")[1]
    assert "Theorem 4.6" in samattr("methods")[1]


def test_truth(samattr):
    status, out, _ = samattr("truth", "digits-mlp", "--seed", "1", *SMALL, "--json")
    found = json.loads(out)
    assert status == 0
    assert (found["workload"], found["seed"], found["n_removed"], found["n_query"]) == ("digits-mlp", 1, 40, 6)
    values = safetensors.torch.load_file(Path(found["path"]) / "values.safetensors")["values"]
    assert hashlib.sha256(values.numpy().tobytes()).hexdigest() == found["sha256"]
    assert json.loads(samattr("truth", "digits-mlp", "--seed", "1", *SMALL, "--json")[1])["sha256"] == found["sha256"]


def test_truth_is_kept_as_losses(samattr, tmp_path):
    small = ("truth", "digits-logreg", *SMALL, "--set", "n_removed=5", "--keep", str(tmp_path), "--json")
    single = json.loads(samattr(*small)[1])
    subsets = json.loads(samattr(*small, "--fraction", "0.1", "--count", "3", "--engine", "loop")[1])
    assert (single["n_groups"], single["retrained"], subsets["n_groups"], subsets["retrained"]) == (5, 5, 3, 3)
    engines = [
        json.loads(Path(made["path"]).with_suffix(".json").read_text())["content"]["record"]
        for made in (single, subsets)
    ]
    assert engines[0]["engine"] != "loop" == engines[1]["engine"]  # the first of its own choice
    assert json.loads(samattr(*small)[1])["retrained"] == 0
    names = sorted(path.name.rsplit("-", 1)[0] for path in tmp_path.glob("*.safetensors"))
    assert names == ["digits-logreg-loo-5-uniform", "digits-logreg-subsets-0.1-3-0"]
    status, _, said = samattr(*small, "--fraction", "2")
    assert status == 1 and "cannot be left out" in said and said.count("\n") == 1


@pytest.mark.slow
def test_validate_within_a_bound(samattr):
    chosen = ("validate", "grad-dot", "--workload", "digits-logreg", *SMALL, "--json")
    whole, cut = (json.loads(samattr(*chosen, *more)[1]) for more in ((), ("--memory-bytes", "3000000")))
    assert cut["metrics"]["slope"] == pytest.approx(whole["metrics"]["slope"], rel=1e-9)
    status, _, said = samattr(*chosen, "--memory-bytes", "100")
    assert status == 1
    assert said.splitlines()[-1].startswith("samattr: memory_bytes = 100 is too small: ")


def test_validate(samattr):
    status, out, _ = samattr("validate", "sam-hif", "--workload", "digits-logreg", "--seed", "2", *SMALL, "--json")
    found = json.loads(out)
    assert status == 0
    assert {"workload", "method", "seed", "n_train", "n_query", "metrics", "diagnostics"} <= set(found)
    assert {"runtime_s", "peak_memory_bytes", "environment"} <= set(found)
    assert {"mean", "ci95"} == set(found["metrics"]["spearman_per_query"]) == set(found["metrics"]["pearson_per_query"])
    for name in ("slope", "spearman_mean_query", "pearson_mean_query", "relative_error", "cosine", "noise_auc"):
        assert isinstance(found["metrics"][name], float)
    assert (found["method"], found["seed"], found["n_train"], found["n_query"]) == ("sam-hif", 2, 40, 6)
    null = json.loads(samattr("validate", "grad-dot", *SMALL, "--json")[1])["metrics"]
    assert null["relative_error"] is None
    assert null["cosine"] is None


def test_validate_another_functional_by_measures_that_retrain(samattr, caplog):
    asked = ("--functional", "margin", "--measure", "qld=0.1", "--measure", "lds=0.1,0.5")
    status, out, _ = samattr("validate", "grad-dot", *SMALL, *asked, "--json")
    found = json.loads(out)
    assert status == 0 and found["functional"] == "margin"
    assert {name: set(values) for name, values in found["measures"].items()} == {"qld": {"0.1"}, "lds": {"0.1", "0.5"}}
    assert set(found["measures"]["lds"]["0.5"]) == {"mean", "ci95"}
    assert caplog.messages == ["qld, lds of grad-dot on digits-logreg: up to 116 retrainings"]  # for standard error
    assert "measures" in samattr("validate", "grad-dot", *SMALL, *asked)[1]
    assert len(caplog.messages) == 1


@pytest.mark.slow
def test_a_users_own_method(samattr, tmp_path, monkeypatch):
    (tmp_path / "outside.py").write_text(
        "import torch\n\n\ndef ones(run, queries):\n    return torch.ones(run.n_train, len(queries))\n"
    )
    monkeypatch.chdir(tmp_path)
    for name in ("outside:ones", "outside.py:ones"):
        status, out, _ = samattr("validate", name, *SMALL, "--json")
        found = json.loads(out)
        assert status == 0
        assert found["metrics"]["spearman_per_query"]["mean"] == 0
        assert found["metrics"]["slope"] is None


def test_check(samattr, tmp_path, monkeypatch):
    status, out, _ = samattr("check", "tracin-cp", "--option", "checkpoints=2", "--json")
    found = json.loads(out)
    assert (status, found["method"], found["passed"]) == (0, "tracin-cp", True)
    assert {"check": "sign", "passed": True, "line": ""} in found["findings"]
    (tmp_path / "negated.py").write_text(
        "import samattr_ref as sr\n\n\ndef negated(run, queries):\n"
        "    return -sr.attribute(run, 'grad-dot', queries).values\n"
    )
    monkeypatch.chdir(tmp_path)
    status, out, said = samattr("check", "negated.py:negated")
    assert status == 1
    assert said == "samattr: negated.py:negated fails 1 of 16 checks: sign\n"
    lines = out.splitlines()
    assert len(lines) == 16 and lines[0] == "options         ok"
    assert [line for line in lines if "failed: scores look negated" in line] == [lines[-2]]
    found = json.loads(samattr("check", "negated.py:negated", "--json")[1])
    assert not found["passed"] and [each["check"] for each in found["findings"] if each["passed"] is False] == ["sign"]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["validate", "sam-gfi"], 1, "did you mean 'sam-gif'"),
        (["check", "sam-gfi"], 1, "did you mean 'sam-gif'"),
        (["check", "nowhere.py:f"], 1, "no file nowhere.py"),
        (["check", "sam-gif", "--option", "checkpoints"], 2, "NAME=VALUE"),
        (["new-method", "sam-gif"], 1, "there is a method 'sam-gif' already"),
        (
            ["new-method", "mine", "--out", "/dev/null/x"],
            1,
            "could not be written (Not a directory): choose another folder",
        ),
        (["validate", "if", "--workload", "digit-mlp"], 1, "did you mean 'digits-mlp'"),
        (["truth", "digits-mpl"], 1, "did you mean 'digits-mlp'"),
        (["validate", "if", "--measure", "qdl"], 1, "did you mean 'qld'"),
        (["validate", "if", "--measure", "lds=5"], 1, "lds is taken at shares between 0 and 1"),
        (["validate", "if", "--functional", "margins"], 1, "did you mean 'margin'"),
        (["validate", "trak", "--functional", "margin"], 1, "attributes the queries' loss alone"),
        (["validate", "if", "--rho", "-1"], 1, "rho must be"),
        (["validate", "if", "--p", "0.5"], 1, "p must lie in"),
        (["validate", "if", "--set", "n_trian=5"], 1, "did you mean 'n_train'"),
        (["validate", "if", "--set", "n_train"], 2, "NAME=VALUE"),
        (["validate", "if", "--rho", "0.1", "--set", "rho=0.2"], 1, "--rho 0.1 and --set rho=0.2 say two things"),
        (["truth", "digits-mlp", "--p", "2", "--set", "p=2"], 1, "--p 2.0 and --set p=2 say two things"),
        (["validate", "if", "--set", "steps=3", "--set", "steps=4"], 1, "steps is set twice, the second time to 4"),
        (["check", "if", "--option", "damping=1", "--option", "damping=1"], 1, "damping is set twice"),
        (["validate", "if", "--set", "warmup=9", "--set", "steps=8"], 1, "warmup is 9 and the run has 8 steps"),
        (["validate", "if", "--set", "training_seed=-1"], 1, "training_seed must be a whole number of at least 0"),
        (["truth", "digits-mlp", *SMALL, "--set", "rho=1e30"], 1, "digits-mlp diverged at step 1 of 20: lower"),
        (["truth", "digits-mlp", *SMALL, "--set", "learning_rate=1e10"], 1, "diverged at step 1 of 20: lower"),
        (["validate", "sam-gif", *SMALL, "--option", "checkpoints=21"], 1, "number of steps, 20, not 21"),
        (["validate", "if", *SMALL, "--option", "solver=cg", "--option", "max_iterations=1"], 1, "max_iterations"),
        (["validate", "if", *SMALL, "--option", "damping=lots"], 1, "cannot be 'lots'"),
        (["validate", "nowhere:f"], 1, "could not be imported"),
        (["reproduce", "--profile", "quikc"], 1, "did you mean 'quick'"),
        (["report", "tabel"], 1, "did you mean 'table'"),
        (["reproduce", "editing"], 1, "use --profile desk"),
        (["reproduce", "damping", "--profile", "desk", "--seeds", "a"], 1, "whole numbers"),
        (["reproduce", "--out", "/dev/null/x"], 1, "could not be written (Not a directory): choose another folder"),
        (["report", "damping", "--profile", "desk", "--seeds", "77"], 1, "nothing was measured"),
        (["validate", "if", "--seed", "-1"], 2, "seed"),
        (["truth", *SMALL[2:], "--engine", "lop"], 2, "'lop' is not one of"),
        (["frobnicate"], 2, "frobnicate"),
    ],
)
def test_mistakes_are_one_line_and_a_status(samattr, arguments, status, said):
    code, out, err = samattr(*arguments)
    assert code == status
    assert said in err
    assert "Traceback" not in err
    assert out == ""
    if status == 1:
        assert len(err.strip().splitlines()) == 1


METHODS = """
import torch

print("at import")

def raising(run, queries):
    raise ValueError("of two\\nlines")

def short(run):
    return run.parameters

def text(run, queries):
    return "high"

def chatty(run, queries):
    print("at work")
    return torch.ones(run.n_train, len(queries))

number = 5
"""
RAISED = "ValueError: of two, at methods.py:7"


@pytest.fixture
def methods(tmp_path, monkeypatch):
    """A user's file."""
    (tmp_path / "methods.py").write_text(METHODS)
    monkeypatch.chdir(tmp_path)


TINY = sr.Workload("tiny", sr.Digits(n_train=20, n_query=4, n_tuning=3), sr.MLP((3,)), sr.SamRecipe(steps=4))


@pytest.fixture(scope="module")
def truths(tmp_path_factory):
    """A folder with the ground truth of `TINY`."""
    folder = tmp_path_factory.mktemp("truths")
    run = sr.train(TINY)
    keep_in_parts(run, single_points_name(TINY), single_points(run), folder)
    return folder


@pytest.fixture
def tiny(truths, registering, fresh_store, monkeypatch):
    """A workload whose ground truth comes with the project; nothing of it is in the store."""
    monkeypatch.setattr(kept, "FOLDER", truths)
    return sr.register_workload(TINY)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("raising", f"method raising failed: {RAISED}"),
        ("short", "methods.py:short cannot be called as (run, queries, **options): too many positional arguments"),
        ("text", "text returned a str, not scores [n_train, n_query]"),
        ("number", "methods.py:number is not a function (run, queries, **options)"),
        ("missing", "methods.py has no attribute 'missing'"),
    ],
)
def test_a_method_that_is_none_is_one_line(samattr, methods, tiny, name, said):
    for command in (["validate", f"methods.py:{name}", *SMALL], ["leaderboard", "--workload", "tiny", "--seeds", "0"]):
        words = command if command[0] == "validate" else [*command, "--add", f"methods.py:{name}"]
        status, out, err = samattr(*words)
        assert (status, out) == (1, "")
        assert [line for line in err.splitlines() if line != "at import"] == [f"samattr: {said}"]
    status, out, err = samattr("check", f"methods.py:{name}", "--json")
    assert status == 1 and "Traceback" not in err
    if name == "raising":
        (failed,) = (found for found in json.loads(out)["findings"] if found["passed"] is False)
        assert failed == {"check": "runs", "passed": False, "line": f"it raises {RAISED}"}


def test_what_a_method_prints_is_no_result(samattr, methods, tiny):
    board = ("leaderboard", "--workload", "tiny", "--seeds", "0", "--add", "methods.py:chatty", "--format", "json")
    for words, printed in (
        (("check", "methods.py:chatty", "--json"), 10),
        (("validate", "methods.py:chatty", "--workload", "tiny", "--json"), 2),
        (board, 2),
        (("truth", "methods.py:number", "--json"), 0),
    ):
        status, out, err = samattr(*words)
        assert "at import" in err and err.count("at work") >= printed
        assert json.loads(out) if status == 0 else out == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["truth", "tiny", "--set", "n_trian=5"], "did you mean 'n_train'"),
        (["truth", "tiny", "--fraction", "2"], "50 subsets of 40 of 20 points cannot be left out"),
        (["truth", "tiny", "--fraction", "0.5", "--count", "0"], "0 subsets of 10 of 20 points cannot be left out"),
        (
            ["truth", "tiny", "--keep", "/dev/null/x"],
            "could not be written (Not a directory): choose another folder with",
        ),
        (["truth", "tiny", "--seed", "1", "--verify"], "no truth 'loo-20-uniform' of tiny with seed 1 is kept"),
        (["truth", "tiny", "--address", "auto"], "go with --executor ray alone"),
        (["truth", "tiny", "--engine", "lop"], "'lop' is not one of"),
        (["export", "tiny", "--out", "/dev/null/x"], "could not be written"),
        (["export", "tiny", "--out", "out", "--set", "n_trian=5"], "did you mean 'n_train'"),
        (["validate", "sam-gfi", "--workload", "tiny"], "did you mean 'sam-gif'"),
        (["validate", "if", "--workload", "tiny", "--option", "dampign=1"], "did you mean 'damping'"),
        (["validate", "if", "--workload", "tiny", "--option", "solver=dens"], "did you mean 'dense'"),
        (["validate", "if", "--workload", "tiny", "--measure", "qld", "--measure", "qdl"], "did you mean 'qld'"),
        (["validate", "if", "--workload", "tiny", "--functional", "margins"], "did you mean 'margin'"),
        (["validate", "if", "--workload", "tiny", "--gpus-per-task", "1"], "go with --executor ray alone"),
        (["validate", "--scores", "none.npy", "--layout", "train-query", "--workload", "tiny"], "there is no file"),
        (["check", "tracin-cp", "--option", "chekpoints=2"], "fails 1 of 16 checks: options"),
        (["leaderboard", "--add", "loss", "--add", "los", "--workload", "tiny", "--seeds", "0"], "did you mean 'loss'"),
        (["leaderboard", "--add", "loss", "--workload", "tiny", "--workload", "tniy", "--seeds", "0"], "'tiny'"),
        (
            ["leaderboard", "--add", "loss", "--workload", "tiny", "--seeds", "0,1"],
            "no ground truth of tiny with seed 1",
        ),
        (
            ["leaderboard", "--add", "loss", "--workload", "tiny", "--seeds", "0", "--rows", "/dev/null/x"],
            "with --rows",
        ),
        (["leaderboard", "--workload", "tniy"], "did you mean 'tiny'"),
        (["leaderboard", "--method", "loss"], "--method goes with --verify alone"),
        (["reproduce", "table", "tabel", "--workload", "tiny"], "did you mean 'table'"),
        (["reproduce", "table", "editing", "--workload", "tiny"], "profile 'quick' does not have 'editing'"),
        (["reproduce", "table", "--workload", "tiny", "--set", "n_trian=5"], "did you mean 'n_train'"),
        (["reproduce", "table", "rho", "--profile", "desk", "--workload", "tniy"], "did you mean 'tiny'"),
        (["reproduce", "rho", "--profile", "desk", "--workload", "tiny", "--set", "stesp=1"], "did you mean 'steps'"),
        (["reproduce", "table", "--workload", "tiny", "--out", "/dev/null/x"], "choose another folder with --out"),
        (["reproduce", "table", "--workload", "tiny", "--seeds", "0,x"], "whole numbers"),
    ],
)
def test_all_names_are_looked_at_before_anything_is_trained(
    samattr, tiny, fresh_store, words, said, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    status, _, err = samattr(*words)
    assert status in (1, 2) and said in err and "Traceback" not in err
    assert status == 2 or len(err.splitlines()) == 1
    assert not list(fresh_store.rglob("*"))


def test_a_report_of_nothing_is_one_line(samattr, fresh_store):
    code, out, err = samattr("report")
    assert code == 1
    assert out == ""
    assert err == "samattr: no results of profile 'quick' on disk: run samattr reproduce --profile quick\n"


@pytest.mark.slow
def test_a_report_with_gaps_says_so(samattr, fresh_store, tmp_path, monkeypatch):
    monkeypatch.setitem(profiles.PROFILES, "quick", profiles.Profile("quick", (make_workload(tmp_path),), (0,)))
    baselines.validate("random", profiles.PROFILES["quick"].cells({})[0][0])
    code, out, err = samattr("report", "table", "--out", str(tmp_path / "out"))
    assert code == 1
    assert "random" in out
    assert f"{len(sr.methods())} results are missing" in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.slow
def test_one_experiment_at_any_size(samattr, tmp_path):
    sizes = [*SMALL, "--set", "hidden=[8]", "--workload", "digits-mlp", "--seeds", "0,1", "--jobs", "1"]
    arguments = ["top-removal", "--profile", "desk", *sizes, "--out", str(tmp_path)]
    code, out, _ = samattr("reproduce", *arguments)
    assert code == 0
    assert "SAM-GIF" in out
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("desk+digits-mlp+") and folder.name.endswith("+seeds=0,1")
    assert "+hidden=[8]+" in folder.name and (folder / "top-removal.png").exists()
    code, out, _ = samattr("report", *(a for a in arguments if a not in ("--jobs", "1")), "--json")
    assert code == 0
    assert json.loads(out)["failures"] == []


def make_workload(folder):
    path = folder / "gapworkload.py"
    path.write_text(
        "import samattr_ref as sr\n\n"
        "tiny = sr.Workload('tiny', sr.Digits(n_train=40, n_query=6, n_tuning=4, n_validation=5), "
        "sr.LogisticRegression(), sr.SamRecipe(steps=20))\n"
    )
    return f"{path}:tiny"


def test_missing_data_is_one_line(samattr, monkeypatch, tmp_path):
    monkeypatch.setenv("SAMATTR_DATA", str(tmp_path / "nowhere"))
    code, _, err = samattr("truth", "mnist-logreg")
    assert code == 1
    assert err.startswith("samattr: SAMATTR_DATA names")


def test_a_damaged_artefact_is_one_line(samattr, fresh_store):
    assert samattr("truth", "digits-logreg", *SMALL)[0] == 0
    (path,) = fresh_store.rglob("run.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    code, _, err = samattr("truth", "digits-logreg", *SMALL)
    assert code == 1
    assert len(err.strip().splitlines()) == 1
    assert "is damaged: " in err and "; delete the folder" in err


def test_the_version_is_that_of_the_package(samattr):
    assert samattr("--version")[1].split() == ["samattr", version("samattr")]


def test_shells_can_complete_commands(samattr):
    said = samattr("--help")[1]
    assert "--install-completion" in said and "--show-completion" in said
