"""Reports show and never measure: what a page may import, and where a name says which module it is."""

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "reports" / "experiments").glob("*.py"))
MEASURING = {
    "samattr_ref.attribution",
    "samattr_ref.training",
    "baselines",
    "baselines.engines",
    "baselines.truth",
    "baselines.studies.agreement",
    "baselines.studies.detection",
    "baselines.studies.edit",
    "baselines.studies.plain",
}
"""Modules that train, retrain or attribute, and what studies measure with."""
NAMES = {
    "attribute",
    "influence_score",
    "leave_one_out",
    "load_workload",
    "parameter_change",
    "retrain",
    "retraining_truth",
    "subset_retraining",
    "train",
    "validate",
}


def imports(path):
    """What a file imports: `(module, name)`, the name None where the module itself is imported."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module, alias.name) for alias in node.names)


def measuring(path):
    return [
        f"{module}.{name}"
        for module, name in imports(path)
        if module in MEASURING or name in NAMES or f"{module}.{name}" in MEASURING
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_imports_nothing_that_trains_retrains_or_attributes(page):
    assert not measuring(page)


def test_a_study_that_trains_would_be_seen():
    assert {"samattr_ref.training.train", "baselines.truth.leave_one_out"} <= set(
        measuring(ROOT / "baselines" / "studies" / "across_runs.py")
    )


def test_no_two_modules_of_baselines_and_reports_share_a_name():
    modules = [path for wing in ("baselines", "reports") for path in (ROOT / wing).rglob("*.py")]
    counts = Counter(path.stem for path in modules if path.stem != "__init__")
    assert not [name for name, count in counts.items() if count > 1]
