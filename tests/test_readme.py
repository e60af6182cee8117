"""What the README shows is what the program made, and its examples run. What it and the other pages name is there."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import baselines
import samattr_ref as sr
from baselines.comparison import METRICS
from baselines.retraining_measures import MEASURES
from baselines.studies.profiles import PROFILES
from reports import cli
from reports.experiment import experiments
from samattr_ref.network.functionals import FUNCTIONALS
from samattr_ref.sam.variants import VARIANTS
from samattr_ref.support.options import UNSUPPORTED
from tests.conftest import needs_cpu
from tests.samattr_ref.zoo import ZOO, workload_of

ROOT = Path(__file__).parents[1]
NAMED = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))]
PAGES = {path: (ROOT / path).read_text() for path in NAMED}
README, RESULTS = PAGES["README.md"], PAGES["docs/results.md"]
REFERENCE = ROOT / "reports" / "reference" / "quick"


def test_the_table_is_the_reference_table():
    assert (REFERENCE / "table.md").read_text().strip() in RESULTS


def test_the_table_of_peers_is_the_measured_one():
    assert (ROOT / "benchmarks" / "peers" / "table.md").read_text().strip() in RESULTS


def rows_of(text):
    """The rows of a Markdown table, by its header; below it may stand notes."""
    lines = [line.strip() for line in text.splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(head, row, strict=True)) for row in rows]


CUT = re.findall(r"<!-- rows of (\S+) -->\n(.*?)\n<!-- end of the rows -->", README + RESULTS, flags=re.DOTALL)


def test_small_tables_are_found():
    assert len(CUT) == (README + RESULTS).count("<!-- rows of ") > 5


@pytest.mark.parametrize(("path", "table"), CUT)
def test_small_tables_are_rows_and_columns_of_committed_ones(path, table):
    source = rows_of((ROOT / path).read_text().strip())
    for row in rows_of(table):
        assert any(row.items() <= known.items() for known in source), row


ROW = r"^\| [^|]+ \| ([^|]+) \| ((?:`[\w-]+` ?)+)\|$"
NETWORKS = [
    (status.split(":")[0].split(" (")[0].strip(), name)
    for status, names in re.findall(ROW, PAGES["docs/networks.md"], flags=re.MULTILINE)
    for name in re.findall(r"`([\w-]+)`", names)
]


def test_the_table_of_networks_is_found():
    assert {status for status, _ in NETWORKS} == {"fast", "falls back", "not stored", "refused"}
    assert len(NETWORKS) > 60


@needs_cpu  # a CUDA device has other kernels
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


@pytest.mark.parametrize("page", PAGES)
def test_figures_links_and_paths_are_there(page):
    links = re.findall(r"\]\(([^)#:]+)\)", PAGES[page])
    paths = re.findall(r"`((?:samattr_ref|baselines|reports|benchmarks|tests|docs)/[\w./-]*)`", PAGES[page])
    assert links + paths
    for link in set(links) - {"claims.md", "results-map.md"}:  # which the site makes
        assert (ROOT / page).parent.joinpath(link).exists(), link
    for path in set(paths) - {"reports/out/quick/"}:  # which the program makes
        assert (ROOT / path).exists(), path


PROGRAM = typer.main.get_command(cli.app)


@pytest.mark.parametrize("page", PAGES)
def test_commands_options_and_names_are_there(page):
    commands = re.findall(r"samattr ([a-z-]+)([^`\n]*)", "\n".join(re.findall(r"`+[^`]+`+", PAGES[page])))
    for command, rest in commands:
        asked = PROGRAM.commands[command]
        if within := getattr(asked, "commands", None):  # a group of commands, or all of them
            asked = within[rest.split()[0]] if rest.split() else asked
        options = {name for parameter in asked.params for name in parameter.opts}
        assert options.issuperset(re.findall(r"--[\w-]+", rest)), (command, rest)
        assert set(re.findall(r"--profile ([a-z]+)", rest)) <= set(PROFILES)
    for module in re.findall(r"python -m (benchmarks[\w.]*)", PAGES[page]):
        assert importlib.util.find_spec(module), module
    for package, name in re.findall(r"\b(sr|samattr_ref|baselines)\.(\w+)", PAGES[page]):
        assert hasattr(baselines if package == "baselines" else sr, name), name


def test_every_profile_experiment_and_command_is_listed():
    assert set(re.findall(r"^\| `(\w+)` \|", PAGES["docs/program.md"], flags=re.MULTILINE)) >= set(PROFILES)
    assert set(re.findall(r"`samattr ([\w-]+)", PAGES["docs/program.md"])) == set(PROGRAM.commands)
    listed = PAGES["docs/experiments.md"].split("| experiment |")[1].split("\n\n")[0]
    assert set(re.findall(r"`([\w-]+)`", listed)) == set(experiments())


def test_methods_and_variants_of_the_design_are_those_that_there_are():
    methods = PAGES["docs/design.md"].split("| name | parameter change")[1].split("\n\n")[0]
    variants = PAGES["docs/design.md"].split("| variant | what differs")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", methods, flags=re.MULTILINE)) == set(sr.methods(optional=True))
    classes = {cls.__name__ for cls in VARIANTS.values()} - {"Sam"}
    assert set(re.findall(r"^\| `(\w+)` \|", variants, flags=re.MULTILINE)) == classes


def test_the_page_of_measures_has_every_functional_metric_and_measure():
    tables = PAGES["docs/measures.md"].split("\n| --- |")[1:]
    named = [
        {name for row in table.split("\n\n")[0].split("\n")[1:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
        for table in tables
    ]
    assert named == [set(FUNCTIONALS), set(METRICS), set(MEASURES)]
    for row in PAGES["docs/measures.md"].split("\n"):
        name = row.removeprefix("| `").split("`")[0]
        if row.startswith("| `") and name in MEASURES:
            assert row.split("|")[3].strip() == MEASURES[name].best


def test_every_optional_method_is_on_the_page_of_rivals():
    optional = {name for name, method in sr.methods(optional=True).items() if method.optional}
    assert set(re.findall(r"^\| `([\w-]+)` \|", PAGES["docs/rivals.md"], flags=re.MULTILINE)) == optional


def test_what_no_recipe_has_is_said_to_be_unsupported():
    section = PAGES["docs/program.md"].split("## What is not supported")[1].lower()
    assert UNSUPPORTED
    for said in UNSUPPORTED.values():
        assert said.lower() in section


def test_the_reference_says_where_it_came_from():
    origin = json.loads((REFERENCE / "provenance.json").read_text())
    assert origin["command"] in RESULTS
    assert origin["seeds"] == [0, 1, 2]
    assert origin["environments"][0]["torch"]
    assert origin["failures"] == []


def test_ci_runs_the_readmes_test_command():
    (command,) = (line for line in README.splitlines() if line.endswith("/tox"))
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


EXAMPLES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", README, flags=re.DOTALL))


@pytest.mark.slow
def test_the_example_runs(tmp_path):
    """As it stands, in a process of its own; and it says what the reader is told."""
    code = EXAMPLES["example.py"]
    assert len(code.strip().splitlines()) == 11  # ten lines and a blank one
    environment = {**os.environ, "SAMATTR_STORE": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    effect, agreement = done.stdout.splitlines()
    assert re.fullmatch(r"without training point \d+ the mean loss changes by \+0\.\d+; predicted: \+0\.\d+", effect)
    assert float(re.search(r"'mean': ([\d.]+)", agreement)[1]) > 0.9


def test_the_example_of_measures_runs():
    (code,) = re.findall(r"```python\n# margins\.py\n(.*?)```", PAGES["docs/measures.md"], flags=re.DOTALL)
    found = {}
    exec(code, found)
    assert found["scores"].values.shape == (100, len(found["run"].workload.queries))
