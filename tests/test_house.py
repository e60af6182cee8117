"""The wings of the house: what imports what, that nothing runs back up, and that reports show and never measure."""

import ast
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("samattr_ref", "baselines", "reports")
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if path.relative_to(ROOT).parts[:2] != ("reports", "out")
}


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


def wing(module):
    """A sub-package, or the top level of its package."""
    package, *rest = module.split(".")
    return f"{package}.{rest[0]}" if rest and (ROOT / package / rest[0]).is_dir() else package


def imports(path):
    """What a file imports at run time: `(module, name)`, the name None where the module itself is imported."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and id(node) not in typing_only:
            yield from ((node.module, alias.name) for alias in node.names)


def imported(path):
    """The project's modules among them."""
    for module, name in imports(path):
        found = [known for known in (f"{module}.{name}", module) if known in MODULES]
        yield from found[:1]


ARROWS = {(module, name) for module, path in MODULES.items() for name in imported(path)}


def test_no_arrow_runs_back_up():
    """Package files only gather names, so that they are left out."""
    between = {}
    for module, name in ARROWS:
        if MODULES[module].name != "__init__.py" and wing(module) != wing(name):
            between.setdefault(wing(module), set()).add(wing(name))
    order = list(TopologicalSorter(between).static_order())  # raises where there is a cycle
    assert order.index("samattr_ref") < order.index("baselines") < order.index("reports")


def test_the_reference_knows_no_rival_and_the_mathematics_no_file():
    for module, name in ARROWS:
        if module.startswith("samattr_ref"):
            assert name.startswith("samattr_ref"), f"{module} imports {name}"
        if module.startswith(("samattr_ref.solvers", "samattr_ref.sam.perturbation")):
            assert name != "samattr_ref.support.store", f"{module} imports {name}"


def measuring(path):
    return [
        f"{module}.{name}"
        for module, name in imports(path)
        if module in MEASURING or name in NAMES or f"{module}.{name}" in MEASURING
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_imports_nothing_that_trains_retrains_or_attributes(page):
    assert not measuring(page)


def test_of_all_that_reports_only_the_program_trains():
    """Two of its commands make what their names say, of a workload that their options ask for; the others ask a job."""
    trains = {path.stem for path in (ROOT / "reports").rglob("*.py") if any(name in NAMES for _, name in imports(path))}
    assert trains == {"asked", "program"}


def test_a_study_that_trains_would_be_seen():
    assert {"samattr_ref.training.train", "baselines.truth.leave_one_out"} <= set(
        measuring(ROOT / "baselines" / "studies" / "across_runs.py")
    )


def test_no_two_modules_of_baselines_and_reports_share_a_name():
    modules = [path for wing in ("baselines", "reports") for path in (ROOT / wing).rglob("*.py")]
    counts = Counter(path.stem for path in modules if path.stem != "__init__")
    assert not [name for name, count in counts.items() if count > 1]
