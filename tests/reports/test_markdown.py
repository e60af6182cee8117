"""Templates are filled whole, and travel with the package."""

import tomllib
from pathlib import Path

import jinja2
import pytest

from reports.markdown import render

ROOT = Path(__file__).parents[2]


def test_a_value_that_is_missing_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="'seeds' is undefined"):
        render("noise")


def test_missing_results_are_listed_under_the_machines():
    machine = dict.fromkeys(("cpu", "cores", "system", "python", "torch", "threads", "numpy", "samattr"), "x")
    values = {"title": "p", "machines": [machine | {"gpu": None, "precision": "tf32"}], "usual_precision": "float32"}
    origin = {"command": "samattr reproduce", "seeds": [0, 1], "experiments": {"a": {}, "b": {"seeds": [0, 1, 2]}}}
    lines = render("page", **values, origin=origin, failures=["a", "b"], sections=["## One", "## Two"]).splitlines()
    assert lines[2] == "Made by `samattr reproduce`, seeds 0, 1; b: 0, 1, 2."
    assert lines[4].startswith("Hardware and versions: x, x cores, no GPU, x; Python x,")
    assert lines[4].endswith("Products in tf32.")
    assert lines[5:] == ["", "Missing:", "", "- a", "- b", "", "## One", "", "## Two"]


def test_every_template_is_in_the_package():
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["reports"]
    packed = {path for pattern in data for path in (ROOT / "reports").glob(pattern)}
    assert packed >= {path for path in (ROOT / "reports" / "templates").iterdir() if path.is_file()} != set()
