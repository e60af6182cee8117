"""What results are found again by: all code that they go through, and no comment, docstring or layout of it."""

import ast
import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

import samattr_ref as sr
from baselines.comparison import metric
from baselines.studies import agreement as agreements
from baselines.studies.cases import Case
from baselines.truth import leave_one_out
from baselines.validation import result_path, validate
from reports.experiment import experiments
from samattr_ref.registry import METHODS
from samattr_ref.support import source
from samattr_ref.support.fingerprint import fingerprint
from samattr_ref.support.registered import OWN
from samattr_ref.support.source import Source
from tests.code_seen import ROOT, copy_of_the_project, executed, forget, held
from tests.conftest import small

TINY = {"n_train": 20, "n_query": 3, "n_tuning": 3, "n_validation": 5, "steps": 4, "batch_size": 10}


def keys():
    """Where a tiny run, its truth, every method's validation and a cell of every experiment are stored."""
    workload = sr.load_workload("digits-logreg").override(**TINY)
    found = {"run": workload.key(), "truth": leave_one_out(sr.train(workload)).path.name}
    for method in (*sr.methods(), "loo"):
        found[f"validation of {method}"] = result_path(workload, method, {}).name
    for name, experiment in experiments().items():
        case = next(case for cases in experiment.cases.values() for case in cases)
        (cell,) = experiment.cells([Case("digits-logreg", TINY, case.arguments)], [0])
        found[f"cell of {name}"] = cell.path(cell.workload()).name
    return found


@pytest.fixture(scope="module")
def plain():
    forget()
    return keys()


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """Has keys see a copy of the project in which a file is another."""

    def use(file, old, new):
        def edit(path, text):
            if path != file:
                return text
            assert text.count(old) == 1
            return text.replace(old, new)

        folder = copy_of_the_project(tmp_path / "copy", edit)
        seen = Source({package: folder / package for package in OWN})
        monkeypatch.setattr(source, "_project", lambda: seen)
        forget()

    yield use
    forget()


class Documented(ast.NodeTransformer):
    """Has every module, class and function another docstring."""

    def visit(self, node):
        self.generic_visit(node)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            node.body = [ast.Expr(ast.Constant("Another.")), *body]
        return node


@pytest.mark.slow
def test_a_project_elsewhere_with_other_docstrings_comments_and_layout_has_the_same_keys(plain, tmp_path):
    folder = copy_of_the_project(tmp_path, lambda _, text: ast.unparse(Documented().visit(ast.parse(text))))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-m", "tests.test_keys"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    where, found = json.loads(done.stdout)
    assert where.startswith(str(folder))
    assert found == plain


ITERATIVE = {"if", "sam-if", "sam-hif", "sam-hif-fast", "sam-hif-implicit", "sam-unrolled"}
"""Methods that a solver may be asked by: the Newton step of sam-hif-implicit is an option of sam-unrolled."""


def validations(names):
    return {f"validation of {name}" for name in names}


ALL = validations([*sr.methods(), "loo"])
ADDED = "\n\nADDED = 1\n"


@pytest.mark.parametrize(
    ("file", "changed", "kept"),
    [
        ("samattr_ref/sam/perturbation.py", {"run", "truth", *ALL, "cell of complexity"}, set()),
        ("baselines/engines.py", {"truth", *ALL, "cell of retraining"}, {"run"}),
        ("baselines/metrics.py", {*ALL, "cell of neumann"}, {"run", "truth", "cell of complexity"}),
        ("samattr_ref/solvers/gmres.py", validations(ITERATIVE) | {"cell of neumann"}, ALL - validations(ITERATIVE)),
        (
            "samattr_ref/unrolled/derivative.py",
            {"validation of sam-unrolled", "cell of noise-floor", "cell of omitted-term"},
            ALL - {"validation of sam-unrolled"} | {"cell of neumann", "cell of signs"},
        ),
        (
            "baselines/methods/tracin.py",
            {"validation of tracin", "validation of tracin-cp", "cell of neumann", "cell of editing"},
            ALL - validations({"tracin", "tracin-cp"}) | {"cell of noise-floor"},
        ),
        ("baselines/studies/agreement.py", {"cell of neumann"}, {"run", "truth", *ALL, "cell of complexity"}),
        ("samattr_ref/data/digits.py", {"cell of neumann"}, {"run", "truth", *ALL}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_change_of_a_module_changes_the_keys_of_what_goes_through_it(plain, edited, file, changed, kept):
    end = (ROOT / file).read_text()[-60:]
    edited(file, end, end + ADDED)
    found = keys()
    different = {name for name in plain if found[name] != plain[name]}
    assert changed <= different
    assert not kept & different


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("baselines/studies/over_order.py", "ORDERS = (1,", "ORDERS = (3,", set()),  # what is measured
        ("baselines/studies/over_order.py", '"if", "tracin")', '"if")', {"cell of neumann"}),
        ("samattr_ref/catalogue.py", "LogisticRegression(), CANCER", "MLP((32,)), CANCER", set()),
        ("reports/style.py", "PAGE_INCHES =", "PAGE_INCHES = 2 *", set()),
        ("reports/experiments/neumann.py", "EXPERIMENT = ", "COUNT = 1\nEXPERIMENT = ", set()),
        ("samattr_ref/data/__init__.py", '"CIFAR10N",\n', '"CIFAR10N",\n    "Rows",\n', set()),
    ],
)
def test_what_a_result_does_not_go_through_changes_no_key(plain, edited, file, old, new, changed):
    edited(file, old, new)
    found = keys()
    assert {name for name in plain if found[name] != plain[name]} == changed


def test_agreements_are_found_again_until_the_code_of_their_method_changes(fresh_store, edited, monkeypatch):
    truth, computed, compute = leave_one_out(sr.train(small())), [], agreements._agreement
    monkeypatch.setattr(agreements, "_agreement", lambda *given: computed.append(given[1]) or compute(*given))
    end = "    return Scores(products.div_(run.n_train))"
    for expected in (["grad-dot", "random"], [], ["grad-dot"]):
        computed.clear()
        for method in ("grad-dot", "random"):
            agreements.agreement(truth, method, {})
        assert computed == expected
        if not expected:
            edited("baselines/methods/grad_dot.py", end, end.replace("n_train", "n_train + 1"))


def test_classes_of_the_project_are_keyed_by_their_source(edited):
    before = fingerprint(sr.Asam()), fingerprint(sr.LabelNoise())
    edited("samattr_ref/sam/variants.py", "xi: float = 0.01", "xi: float = 0.02")
    after = fingerprint(sr.Asam()), fingerprint(sr.LabelNoise())
    assert before[0] != after[0]
    assert before[1] == after[1]


def variant_of(power):
    @dataclass(frozen=True)
    class Mine(sr.Sam):
        name = "mine"

        def combine(self, g, perturbed):
            return perturbed**power

    return Mine()


def test_a_variant_of_a_user_is_keyed_by_its_code():
    first, same, other = (small(variant=variant_of(power)).key() for power in (1, 1, 2))
    assert first == same != other


def test_a_metric_of_another_package_is_in_the_keys_of_what_is_compared_by_it(plain, registering):
    def one(comparison):
        return comparison.predicted.mean()

    def other(comparison):
        return comparison.predicted.max()

    found = []
    for function in (one, one, other):
        metric("mine")(function)
        found.append(keys())
    assert found[0] == found[1]
    for name in ("validation of if", "cell of neumann"):
        assert len({plain[name], found[0][name], found[2][name]}) == 3
    assert plain["truth"] == found[0]["truth"]


@pytest.mark.slow
@pytest.mark.parametrize("method", [*sr.methods(), "loo"])
def test_all_code_that_a_validation_runs_is_in_its_key(method, fresh_store, monkeypatch):
    workload = small("digits-mlp", n_train=20, steps=10, hidden=(4,))
    with executed() as seen:
        validate(method, workload)
    assert {"samattr_ref.training", "baselines.engines", "samattr_ref.sam.step"} <= seen
    seen.discard("samattr_ref.data.digits")  # whose sets are in the key
    assert seen <= held(lambda: result_path(workload, method, {}), monkeypatch)


@pytest.mark.slow
def test_code_that_is_missing_in_a_key_would_be_seen(fresh_store, monkeypatch):
    """A method in whose place another runs: what that goes through is not in the key."""
    monkeypatch.setitem(METHODS._things, "random", METHODS["sam-gif"])
    workload = small()
    with executed() as seen:
        validate("random", workload)
    monkeypatch.undo()
    assert "samattr_ref.methods.sam_gif" in seen - held(lambda: result_path(workload, "random", {}), monkeypatch)


if __name__ == "__main__":
    print(json.dumps([sr.__file__, keys()]))
