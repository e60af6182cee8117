"""`samattr export`, a program of its own, `samattr validate --scores`: as the page on it says, and what goes wrong."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from safetensors.torch import save_file

import baselines
import samattr_ref as sr
from reports import cli
from tests.conftest import small
from tests.reports.test_cli import SMALL

PAGE = (Path(__file__).parents[2] / "docs" / "scores-of-another-program.md").read_text()
PROGRAM, LIBRARY = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
COMMANDS, OF_AN_ARRAY = (block.splitlines() for block in re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_as_written(samattr, line, more=()):
    """A line of the page: the program's own commands at test size, others in a process without the project."""
    words = shlex.split(line)
    if words[0] == "samattr":
        status, out, said = samattr(*words[1:], *SMALL, "--json")
        assert status == 0, said
        return json.loads(out)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run([sys.executable, "-P", *words[1:]], env=environment, check=True, text=True)


def numbers(metrics):
    """Values and bounds by name; what is not known is left out."""
    found = {}
    for name, value in metrics.items():
        parts = [value["mean"], *value["ci95"]] if isinstance(value, dict) else [value]
        found |= {(name, i): part for i, part in enumerate(parts) if part is not None}
    return found


@pytest.mark.slow
def test_the_page_is_done_as_written(samattr, here):
    (here / "graddot.py").write_text(PROGRAM)
    assert PROGRAM.startswith("# graddot.py\n") and "samattr" not in PROGRAM
    *_, found = [run_as_written(samattr, line) for line in COMMANDS]
    expected = json.loads(samattr("validate", "grad-dot", *SMALL, "--json")[1])
    assert found["method"] == "graddot" and found["runtime_s"] is None
    for name in ("noise_auc", "noise_ap"):
        assert expected["metrics"].pop(name) is not None and found["metrics"].pop(name) is None
    assert numbers(found["metrics"]) == pytest.approx(numbers(expected["metrics"]), rel=1e-9)
    assert found["metrics"]["spearman_per_query"]["mean"] > 0.3
    array = baselines.read_scores("graddot.safetensors", "train-query").values.numpy()
    np.save("graddot.npy", array)
    (line,) = OF_AN_ARRAY
    again = run_as_written(samattr, line)["metrics"]
    assert numbers(again) == numbers(found["metrics"])


def test_the_library_is_used_as_written(here):
    workload = small(n_train=40, steps=20)
    scores = sr.attribute(sr.train(workload), "grad-dot").values.cpu()
    save_file({"scores": scores}, "graddot.safetensors", {"run": sr.train(workload).digest})
    names = {"workload": workload}
    exec(LIBRARY.replace('sr.load_workload("digits-logreg")', "workload"), names)
    assert names["result"].per_query == baselines.validate("grad-dot", workload).per_query
    assert names["result"].method == "grad-dot, mine" and (here / "exported" / "run.json").exists()


def test_what_the_page_names_is_there():
    options = {
        name for command in typer.main.get_command(cli.app).commands.values() for p in command.params for name in p.opts
    }
    assert options.issuperset(re.findall(r"(?<![\w|-])--[a-z]+", PAGE))
    described = json.loads(baselines.export(sr.train(small()), Path(os.environ["SAMATTR_STORE"]) / "named").read_text())
    for name in described["files"]:
        assert f"`{name}`" in PAGE
    for name in ("run", "queries", "dtype", "trained", "step", "not_in_this_folder"):
        assert name in described and f"`{name}`" in PAGE


@pytest.fixture
def exported(samattr, here):
    """The digest of a run, exported, with scores of it in `good.npy` and `good.safetensors`."""
    run = json.loads(samattr("export", "digits-logreg", "--out", "exported", *SMALL, "--json")[1])["run"]
    scores = torch.rand(40, 6, generator=torch.Generator().manual_seed(0))
    np.save("good.npy", scores.numpy())
    save_file({"scores": scores, "validation": scores.mean(1)}, "good.safetensors", {"run": run})
    np.save("nan.npy", np.where(scores > 0.5, np.nan, scores))
    np.save("other.npy", scores[:, :5].numpy())
    Path("cut.npy").write_bytes(Path("good.npy").read_bytes()[:-9])
    Path("a.csv").touch()
    return run


def test_names_seconds_and_noise_auc(samattr, exported):
    asked = ("validate", "--scores", "good.safetensors", "--layout", "train-query", *SMALL, "--json")
    found = json.loads(samattr(*asked, "--name", "chance", "--seconds", "2.5")[1])
    assert (found["method"], found["runtime_s"], found["n_train"], found["n_query"]) == ("chance", 2.5, 40, 6)
    assert 0 <= found["metrics"]["noise_auc"] <= 1 and found["diagnostics"]["made_for"] == {"run": exported}
    assert "good" in samattr(*asked[:-1])[1]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--scores", "good.npy", "--run", "RUN"], 1, "--layout is missing: say train-query or query-train"),
        (["--scores", "good.npy", "--run", "RUN", "--layout", "rows"], 1, "unknown layout 'rows'"),
        (["--scores", "good.npy", "--run", "RUN", "--layout", "query-train"], 1, "say the other layout"),
        (["--scores", "good.npy", "--layout", "train-query"], 1, "does not say which run it is of"),
        (
            ["--scores", "good.npy", "--layout", "train-query", "--run", "0" * 64],
            1,
            "the scores are of run 000000000000…",
        ),
        (
            ["--scores", "good.npy", "--layout", "train-query", "--run", "run.json"],
            1,
            "--run takes the digest of a run",
        ),
        (
            ["--scores", "good.safetensors", "--layout", "train-query", "--seed", "1"],
            1,
            "here: name the seed and settings",
        ),
        (["--scores", "nan.npy", "--layout", "train-query", "--run", "RUN"], 1, "NaN or infinity in"),
        (
            ["--scores", "other.npy", "--layout", "train-query", "--run", "RUN"],
            1,
            "40 training points and 5 queries, not",
        ),
        (["--scores", "cut.npy", "--layout", "train-query", "--run", "RUN"], 1, "cut.npy cannot be read"),
        (["--scores", "none.npy", "--layout", "train-query", "--run", "RUN"], 1, "there is no file none.npy"),
        (["--scores", "a.csv", "--layout", "train-query", "--run", "RUN"], 1, "unknown kind of score file '.csv'"),
        (["--scores", "good.npy", "--layout", "train-query", "--runs", "2"], 1, "--runs goes with a METHOD alone"),
        (
            ["--scores", "good.npy", "--layout", "train-query", "--option", "a=1"],
            1,
            "--option goes with a METHOD alone",
        ),
        (["grad-dot", "--layout", "train-query"], 1, "--layout goes with --scores alone: leave it out"),
        (["grad-dot", "--seconds", "0"], 1, "--seconds goes with --scores alone"),
        (["grad-dot", "--scores", "good.npy"], 2, "give a METHOD, or --scores of another program: one of the two"),
        ([], 2, "give a METHOD, or --scores of another program: one of the two"),
    ],
)
def test_mistakes_are_one_line_and_write_no_result(samattr, exported, here, store_folder, arguments, status, said):
    results = sorted(store_folder.glob("validations/*"))
    before = sorted(here.rglob("*"))
    code, out, err = samattr("validate", *(exported if word == "RUN" else word for word in arguments), *SMALL)
    assert (code, out) == (status, "") and said in err and "Traceback" not in err
    assert status == 2 or len(err.splitlines()) == 1
    assert sorted(here.rglob("*")) == before and sorted(store_folder.glob("validations/*")) == results


def test_a_folder_is_refused_before_anything_is_trained(samattr, here, monkeypatch):
    (here / "mine").mkdir()
    (here / "mine" / "thesis.txt").touch()
    monkeypatch.setattr("samattr_ref.training.train", lambda workload: pytest.fail("trained"))
    code, out, err = samattr("export", "digits-logreg", "--out", "mine", *SMALL)
    assert (code, out) == (1, "") and err.startswith(f"samattr: {here / 'mine'} holds other things than an export")
    assert samattr("export", "digits-logreg", *SMALL)[0] == 2
