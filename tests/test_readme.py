"""What the README shows is what the program made, and its examples run."""

import json
import re
import sys
from pathlib import Path

import pytest

import baselines
import samattr_ref as sr
from tests.samattr_ref.zoo import ZOO, workload_of

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
REFERENCE = ROOT / "reports" / "reference" / "quick"


def test_the_table_is_the_reference_table():
    assert (REFERENCE / "table.md").read_text().strip() in README


def test_what_it_says_of_cost_was_measured():
    """The table of the peer benchmark, and the answers that the page beyond the paper gives."""
    assert (ROOT / "benchmarks" / "peers" / "table.md").read_text().strip() in README
    sections = json.loads((ROOT / "reports" / "reference" / "beyond" / "sections.json").read_text())
    assert "cost" in sections
    for name in {"retraining", "cost"} & set(sections):
        assert sections[name][1].strip("*") in README


SECTION = README.split("## Bring a network")[1].split("\n## ")[0]
NETWORKS = [
    (status.split(":")[0].split(" (")[0].strip(), name)
    for status, names in re.findall(r"^\| [^|]+ \| ([^|]+) \| ((?:`[\w-]+` ?)+)\|$", SECTION, flags=re.MULTILINE)
    for name in re.findall(r"`([\w-]+)`", names)
]


def test_the_table_of_networks_is_found():
    assert {status for status, _ in NETWORKS} == {"fast", "falls back", "not stored", "refused"}
    assert len(NETWORKS) > 60


@pytest.mark.parametrize(("status", "name"), NETWORKS)
def test_networks_are_what_the_table_says(status, name, fresh_store):
    """What a row of the zoo is tested to be, right or refused, is tested there."""
    assert (ZOO[name].refused is not None) == (status == "refused")
    if status == "refused":
        return
    run = sr.train(workload_of(ZOO[name]))
    ways, tried = run.ways, run.objective.tried
    slow = ways.call == "lent" or ways.plain or ways.branches
    slow = slow or not tried.engine.traced or (tried.chain is None and not tried.forward)
    assert slow == (status == "falls back")
    assert bool(list(fresh_store.rglob("run.json"))) == (status != "not stored")


def test_figures_and_links_are_there():
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_the_reference_says_where_it_came_from():
    origin = json.loads((REFERENCE / "provenance.json").read_text())
    assert origin["command"] in README
    assert origin["seeds"] == [0, 1, 2]
    assert origin["environments"][0]["torch"]
    assert origin["failures"] == []


def test_ci_runs_the_readmes_test_command():
    (command,) = (line for line in README.splitlines() if line.endswith("/tox"))
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_examples_run(tmp_path, monkeypatch):
    blocks = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", README, flags=re.DOTALL))
    assert set(blocks) == {"mymethod.py", "myworkload.py", "mynetwork.py"}
    for name, text in blocks.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    names = re.findall(r"samattr validate (my\S+:\S+)", README) + re.findall(r"--workload (my\S+:\S+)", README)
    assert len(names) == 2
    workload = sr.load_workload(names[1])
    result = baselines.validate(names[0], workload.override(n_train=40, steps=20, n_query=10))
    assert result.metrics["spearman_per_query"]["mean"] == pytest.approx(0, abs=1)
    narrow = sr.train(sr.load_workload("mynetwork:narrow").override(steps=20))
    assert len(narrow.parameters) == 65 * 8 + 9 * 10
    sys.path.remove(str(tmp_path))
