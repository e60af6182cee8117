"""The documentation site builds without a warning, is whole, opens without a network, and finds answers."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import baselines
import samattr_ref as sr
from reports.experiment import experiments
from tests.browser import browser, from_the_network, watched

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

QUESTIONS = {
    "what does a score mean": "faq.html#what-does-a-score-mean",
    "which method should I use": "faq.html#which-method-should-i-use",
    "how do I use my model": "faq.html#how-do-i-use-my-model",
    "why does my CNN take so long": "faq.html#why-does-my-cnn-take-so-long",
    "may I trust rank 1": "faq.html#may-i-trust-rank-1",
}
"""A newcomer's, and where each is answered."""

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("site")]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site: any warning would have ended it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_every_public_name_is_in_the_reference(site):
    pages = "".join(path.read_text() for path in (site / "reference").glob("*.html"))
    for package in (sr, baselines):
        assert [name for name in package.__all__ if f'id="{package.__name__}.{name}"' not in pages] == []


def test_formulas_are_typeset(site):
    page = (site / "mathematics.html").read_text()
    assert page.count("<math") > 50
    assert "arithmatex" not in page
    left = re.findall(r"\\[a-z]+", re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))
    assert left == []


def test_the_map_of_results_has_every_experiment_that_a_page_has(site):
    page = (site / "results-map.html").read_text()
    made = {
        name
        for path in (ROOT / "reports" / "reference").glob("*/provenance.json")
        for name in json.loads(path.read_text())["experiments"]
    }
    assert len(made) > 20
    assert made <= set(experiments())
    assert [name for name in made if f"samattr reproduce {name} --profile" not in page] == []


def test_every_block_of_python_in_the_docs_is_run_by_a_test():
    """Whoever adds a page with code says here where it is run."""
    run = {
        "README.md": "test_readme.py",
        "CONTRIBUTING.md": "test_contributing.py",
        "docs/a-method-of-your-own.md": "test_docs.py",
        "docs/a-workload-of-your-own.md": "test_docs.py",
        "docs/tutorial.md": "test_docs.py",
        "docs/losses.md": "test_losses_page.py",
        "docs/measures.md": "test_readme.py",
        "docs/runs-trained-elsewhere.md": "test_runs_trained_elsewhere.py",
        "docs/scores-of-another-program.md": "reports/test_scores_of_another_program.py",
    }
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")]
    assert {str(page.relative_to(ROOT)) for page in pages if "```python" in page.read_text()} == set(run)
    for page, test in run.items():
        assert Path(page).name in (ROOT / "tests" / test).read_text(), page


def test_the_notebook_runs_and_says_what_it_shows(fresh_store, monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)  # figures are shown in the notebook
    kept = nbformat.read(DOCS / "notebook.ipynb", as_version=4)
    again = nbformat.from_dict(json.loads(json.dumps(kept)))
    NotebookClient(again, timeout=600, resources={"metadata": {"path": str(DOCS)}}).execute()
    for shown, found in zip(kept.cells, again.cells, strict=True):
        said = [
            [(out.output_type, out.get("text")) for out in cell.get("outputs", []) if out.get("name") != "stderr"]
            for cell in (shown, found)
        ]
        assert said[0] == said[1]


@pytest.fixture(scope="module")
def page():
    with browser() as opened:
        yield watched(opened, viewport={"width": 1280, "height": 900})


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_search_finds_the_answers_to_a_newcomers_questions(site, page, question):
    page.goto(f"{(site / 'index.html').as_uri()}")
    page.get_by_role("textbox", name="Search").first.fill(question)
    results = page.locator(".md-search-result__link")
    results.first.wait_for(state="attached", timeout=20_000)
    found = [re.sub(r"\?h=[^#]*", "", link.get_attribute("href")) for link in results.all()]
    assert any(QUESTIONS[question] in link for link in found[:5]), found[:8]
    assert page.wrong == []


def test_pages_open_from_a_folder_without_a_network(site, page):
    page.fetched.clear()
    page.wrong.clear()
    for path in sorted(site.rglob("*.html")):
        if path.name == "404.html":  # a server's
            continue
        page.goto(path.as_uri(), wait_until="load")
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{path.name} is {wide} pixels wider than the window"
    assert from_the_network(page) == []
    assert page.wrong == []
