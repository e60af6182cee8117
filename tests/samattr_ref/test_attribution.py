"""Methods and workloads found by name, by entry point, or in a user's own file; what they may return."""

import functools
import inspect
import math
import re
from dataclasses import replace
from typing import Literal, Optional

import numpy
import pytest
import torch

import samattr_ref as sr
from samattr_ref import registry
from samattr_ref.support.device import device
from samattr_ref.support.options import Option
from tests.conftest import small

OWN = '''
import torch
import samattr_ref as sr

def ones(run, queries, *, value=1.0):
    """Everything is worth the same."""
    return torch.full((run.n_train, len(queries)), value)

def transposed(run, queries):
    return torch.ones(len(queries), run.n_train)

def spoiled(run, queries):
    return torch.full((run.n_train, len(queries)), torch.nan)

tiny = sr.Workload("tiny", sr.Digits(n_train=20, n_query=3, n_tuning=3, n_validation=3), sr.MLP((4,)))

def make():
    return tiny

number = 3
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "ownfile.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "ownfile.py"


def test_names():
    assert {"sam-if", "sam-hif", "sam-hif-fast", "sam-hif-implicit", "sam-gif"} <= set(sr.methods())
    assert {"if", "tracin", "tracin-cp", "grad-dot", "random"} <= set(sr.methods())
    for method in sr.methods().values():
        assert method.summary
        assert method.source


@pytest.mark.parametrize("style", ["module", "file"])
def test_a_users_own_method_and_workload(own, style):
    where = "ownfile" if style == "module" else str(own)
    run = sr.train(sr.load_workload(f"{where}:tiny"))
    assert sr.load_workload(f"{where}:make", seed=2).seed == 2
    scores = sr.attribute(run, f"{where}:ones", value=2.5)
    assert torch.equal(scores.values, torch.full((20, 3), 2.5))
    with pytest.raises(sr.SamattrError, match=r"shape \[3, 20\], not \[n_train, n_query\] = \[20, 3\]"):
        sr.attribute(run, f"{where}:transposed")
    with pytest.raises(sr.SamattrError, match="returned NaN"):
        sr.attribute(run, f"{where}:spoiled")
    with pytest.raises(sr.SamattrError, match="unknown option of"):
        sr.attribute(run, f"{where}:ones", valeu=1.0)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: sr.load_workload("digits-mpl"), "did you mean 'digits-mlp'"),
        (lambda: registry.get_method("sam-gfi"), "did you mean 'sam-gif'"),
        (lambda: registry.get_method("nowhere.at.all:f"), "could not be imported"),
        (lambda: registry.get_method("missing.py:f"), "no file missing.py"),
        (lambda: registry.get_method("math:nothing"), "has no attribute 'nothing'"),
        (lambda: registry.get_method("math:pi"), "is not a function"),
        (lambda: sr.load_workload("math:pi"), "not a samattr_ref.Workload"),
    ],
)
def test_what_is_not_there_is_named(call, said):
    with pytest.raises(sr.SamattrError, match=said):
        call()


@pytest.mark.parametrize(
    ("queries", "said"),
    [
        (torch.zeros(3, 64), "must be Examples \\(inputs with labels\\), not Tensor"),
        ([3, 4], "must be Examples \\(inputs with labels\\), not list"),
        (
            sr.Examples(torch.zeros(3, 1, 8, 8), [0, 1, 2]),
            f"float32 on cpu, .* reads torch.float64 on {device()}.*: give queries.to",
        ),
        (sr.Examples(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), [0, 1, 2]), "uint8 on cpu"),
        (
            sr.Examples(torch.zeros(3, 64, dtype=torch.float64), [0, 1, 2]),
            r"shape \[64\], the network of .* \[1, 8, 8\]",
        ),
        (sr.Examples(torch.zeros(3, 1, 8, 8), [0, 1, 10]).to(device(), torch.float64), "outside the 10 classes"),
    ],
)
def test_queries_that_the_network_cannot_read_are_one_line(queries, said):
    run = sr.train(small())
    for ask in (lambda: sr.attribute(run, "grad-dot", queries), lambda: sr.influence_score(run, "grad-dot", queries)):
        with pytest.raises(sr.SamattrError, match=said) as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_a_function_may_return_an_array():
    run = sr.train(small())
    scores = sr.attribute(run, lambda run, queries: numpy.ones((run.n_train, len(queries))))
    assert torch.equal(scores.values, torch.ones(60, 7, dtype=torch.float64))


def zeros(run, queries):
    return torch.zeros(run.n_train, len(queries))


@pytest.mark.parametrize("found", [None, {"scores": 1}, "high", [[1, 2], [3]]])
def test_what_is_no_scores_is_one_line(found):
    with pytest.raises(sr.SamattrError, match=r"made returned a \w+, not scores \[n_train, n_query\]") as raised:
        sr.attribute(sr.train(small()), made_of(found))
    assert "\n" not in str(raised.value)


def test_scores_that_a_gradient_is_recorded_of_are_scores():
    scores = sr.attribute(
        sr.train(small()), lambda run, queries: run.train.x.flatten(1) @ queries.x.flatten(1).T.requires_grad_()
    ).values
    assert not scores.requires_grad


def made_of(found):
    def made(run, queries):
        return found

    return made


def test_a_function_is_a_method():
    assert torch.equal(sr.attribute(sr.train(small()), zeros).values, torch.zeros(60, 7))


def test_methods_come_in_the_order_of_tables(registering):
    names = list(sr.methods())
    assert names[0] == "sam-unrolled" and names[-1] == "random"
    for name, rank in (("last-but-one", 108), ("an-unranked", math.inf), ("b-unranked", math.inf)):
        sr.method(name, summary="nothing", source="them", rank=rank)(zeros)
    assert list(sr.methods()) == [*names[:-1], "last-but-one", "random", "an-unranked", "b-unranked"]


def test_a_registered_workload_is_found_by_its_name(registering, caplog):
    tiny = sr.Workload("tiny", sr.Digits(n_train=20), sr.MLP((4,)))
    sr.register_workload(tiny)
    assert sr.workloads()[-1] == "tiny" and sr.load_workload("tiny", seed=2) == replace(tiny, seed=2)
    sr.register_workload(replace(tiny, name="digits-mlp"))
    assert sr.load_workload("digits-mlp").model == sr.MLP((32,))
    assert "workload 'digits-mlp' of tests.samattr_ref.test_attribution is left out" in caplog.text


def test_a_registration_says_what_the_house_wants_to_know(registering):
    sr.method("worth-nothing", summary="nothing", source="them")(zeros)
    plain = sr.methods()["worth-nothing"]
    assert (plain.label, plain.family, plain.growth) == ("Worth nothing", "other", None)
    growth = sr.Growth("n F", n=1, P=1, Q=1)
    sr.method("told", summary="nothing", source="them", label="Told", family="gradient", growth=growth)(zeros)
    assert sr.methods()["told"].family is sr.Family.GRADIENT
    with pytest.raises(sr.SamattrError, match="unknown family of methods 'gradeint': did you mean 'gradient'"):
        sr.method("third", summary="nothing", source="them", family="gradeint")
    with pytest.raises(sr.SamattrError, match="unknown option of third 'checkpoints'"):
        sr.method("third", summary="nothing", source="them", benchmark={"checkpoints": 2})(zeros)


def test_scores_are_averaged_over_runs_of_the_same_training():
    workload = replace(small(), seed=1)
    run = sr.train(workload)
    each = [sr.train(replace(workload, training_seed=seed)) for seed in (1, 0, 2)]
    assert torch.equal(each[0].parameters, run.parameters)
    scores = sr.attribute(run, "tracin", runs=3)
    torch.testing.assert_close(scores.values, sum(sr.attribute(r, "tracin").values for r in each) / 3)
    assert scores.diagnostics["runs"] == 3 and scores.diagnostics["training_seconds"] > 0
    assert "runs" not in sr.attribute(run, "tracin", runs=1).diagnostics
    value = sr.influence_score(run, "tracin", run.splits.validation, runs=3)
    torch.testing.assert_close(value, sum(sr.influence_score(r, "tracin", r.splits.validation) for r in each) / 3)
    for runs in (0, True, 1.5):
        with pytest.raises(sr.SamattrError, match="runs must be a whole number of at least 1, not"):
            sr.attribute(run, "tracin", runs=runs)


@pytest.mark.parametrize("name", ["runs", "memory_bytes"])
def test_an_option_that_attribute_takes_itself_is_refused(name):
    called = {}
    exec(f"def mine(run, queries, *, {name}=1): ...", called)
    with pytest.raises(sr.SamattrError, match=f"mine has an option {name}, which attribute takes itself: rename it"):
        sr.attribute(sr.train(small()), called["mine"])


def test_parameter_change_is_refused_where_there_is_none():
    run = sr.train(small())
    with pytest.raises(sr.SamattrError, match="does not predict a parameter change"):
        sr.parameter_change(run, "grad-dot", [[0]])
    with pytest.raises(sr.SamattrError, match=r"outside 0\.\.59"):
        sr.parameter_change(run, "sam-gif", [[60]])
    with pytest.raises(sr.SamattrError, match="twice"):
        sr.parameter_change(run, "sam-gif", [[1, 1]])


WRONG = {bool: 1, int: 2.5, float: "much", str: 3, type(None): "None"}
"""A value of none of the kinds that are declared with each."""


@pytest.mark.parametrize("name", sr.methods())
def test_every_option_of_a_method_refuses_another_kind_of_value(name):
    method = sr.methods()[name]
    for key, option in method.options.items():
        assert option.kinds, f"{key} of {name} takes anything"
        method.check({key: option.default})
        with pytest.raises(sr.SamattrError, match=rf"option {key} of {name} cannot be .*: it takes {option}"):
            method.check({key: WRONG[option.kinds[0]]})


@pytest.mark.parametrize(
    ("annotation", "default", "taken", "refused"),
    [
        (int | None, None, [None, 3, numpy.int64(3)], [2.5, True, "3"]),
        (Optional[int], None, [None, 3], [2.5]),  # noqa: UP045 — as users write it too
        (float, 0.5, [1, 0.25, numpy.float32(1)], [None, False, "1"]),
        (bool, False, [True], [1, None]),
        (inspect.Parameter.empty, 3, [2.5], ["3", None]),
        (inspect.Parameter.empty, "a", ["b"], [3]),
        (inspect.Parameter.empty, None, [None, 3, "b"], []),
        (inspect.Parameter.empty, inspect.Parameter.empty, [None, 3, "b"], []),
        ("int", 3, [4], ["b"]),  # under `from __future__ import annotations`
        (list[int], (), [[1], 3], []),
        (tuple[int, ...], (32,), [(8, 4), ()], [(8.5,), 8, [8], None]),
        (Literal["a", "b"], "a", ["b"], [3]),
    ],
)
def test_an_option_takes_what_its_annotation_or_else_its_default_says(annotation, default, taken, refused):
    option = Option.from_annotation(default, annotation)
    assert all(option.takes(value) for value in taken)
    assert not any(option.takes(value) for value in refused)


FAILING = r"""
import functools

import torch

import samattr_ref as sr

def helper(x):
    return x + torch.ones(2, 3)

def raising(run, queries):
    raise ValueError("of two\nlines")

def calling(run, queries):
    return helper(run.parameters)

@functools.wraps(raising)
def wrapped(*given, **options):
    return raising(*given, **options)

partial = functools.partial(raising)

class Called:
    def __call__(self, run, queries):
        raise KeyError

instance = Called()

def leaving(run, queries):
    raise SystemExit(3)

def bytes_of_a_query(run):
    return 1 // 0

@sr.method("failing-bytes", summary="nothing", source="them", query_bytes=bytes_of_a_query, change=lambda *_: 1 // 0)
def scoring(run, queries):
    return torch.zeros(run.n_train, len(queries))
"""


def line_of(text):
    return 1 + next(i for i, line in enumerate(FAILING.splitlines()) if text in line)


@pytest.mark.parametrize(
    ("name", "method", "said", "at"),
    [
        ("raising", "raising", "ValueError: of two", 'raise ValueError("of two'),
        ("calling", "calling", r"RuntimeError: The size of tensor a .*", "return x +"),
        ("wrapped", "raising", "ValueError: of two", 'raise ValueError("of two'),
        ("partial", "partial", "ValueError: of two", 'raise ValueError("of two'),
        ("instance", "Called", "KeyError", "raise KeyError"),
        ("leaving", "leaving", "SystemExit: 3", "raise SystemExit"),
        ("scoring", "failing-bytes", "ZeroDivisionError: .*", "return 1 // 0"),
    ],
)
def test_a_method_that_fails_is_one_line_with_that_of_its_file(name, method, said, at, tmp_path, registering):
    (tmp_path / "failing.py").write_text(FAILING)
    run = sr.train(small())
    function = registry.get_method(f"{tmp_path / 'failing.py'}:{name}").function
    asked = [lambda: sr.attribute(run, function), lambda: sr.influence_score(run, function, run.splits.validation)]
    for ask in asked:
        with pytest.raises(sr.SamattrError) as raised:
            ask()
        assert re.fullmatch(rf"method {method} failed: {said}, at failing\.py:{line_of(at)}", str(raised.value))
        assert type(raised.value.__cause__).__name__ == said.partition(":")[0]


def test_a_parameter_change_that_fails_is_one_line(registering):
    run = sr.train(small())
    for change, said in (
        (lambda *_: 1 // 0, "method changing failed: ZeroDivisionError: "),
        (lambda *_: None, r"changing returned a NoneType, not parameter changes \[n_groups, P\]"),
        (lambda *_: torch.zeros(2, 3), r"parameter changes of shape \[2, 3\], not \[n_groups, P\] = \[1, 650\]"),
    ):
        sr.method("changing", summary="nothing", source="them", change=change)(zeros)
        with pytest.raises(sr.SamattrError, match=said):
            sr.parameter_change(run, "changing", [[0]])


def test_who_stops_the_program_stops_a_method():
    def stopped(run, queries):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sr.attribute(sr.train(small()), stopped)


async def asynchronous(run, queries):
    return 1


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (lambda run: 1, "cannot be called as .*: too many positional arguments"),
        (lambda run, queries, other: 1, "option other of <lambda> has no default"),
        (lambda run, queries, *, damping: 1, "option damping of <lambda> has no default"),
        (lambda *, run, queries: 1, "cannot be called as .*: too many positional arguments"),
        (torch.dot, r"dot does not say what it takes: call it from a function \(run, queries, \*\*options\)"),
        (asynchronous, "asynchronous: a method is a plain function"),
        (None, r"a method is a name or a function \(run, queries, \*\*options\), not None"),
        (torch.zeros(2), r"a method is a name or a function .*, not tensor\(\[0., 0.\]\)"),
    ],
)
def test_what_cannot_be_called_as_a_method_is_refused(method, said, recwarn):
    run = sr.train(small())
    for ask in (lambda: sr.attribute(run, method), lambda: sr.parameter_change(run, method, [[0]])):
        with pytest.raises(sr.SamattrError, match=said) as raised:
            ask()
        assert "\n" not in str(raised.value)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("kind", "said"),
    [(lambda scores: scores * 1j, "sparse or complex scores"), (torch.Tensor.to_sparse, "sparse or complex scores")],
)
def test_numbers_that_are_no_scores_are_refused(kind, said):
    with pytest.raises(sr.SamattrError, match=said):
        sr.attribute(sr.train(small()), lambda run, queries: kind(zeros(run, queries)))


@pytest.mark.parametrize(
    "kind",
    [torch.Tensor.long, torch.Tensor.bool, torch.Tensor.numpy, lambda scores: sr.Scores(scores.numpy())],
    ids=["int", "bool", "numpy", "Scores of numpy"],
)
def test_scores_of_other_kinds_become_numbers_of_the_runs_kind(kind):
    run = sr.train(small())
    found = sr.influence_score(run, lambda run, queries: kind(zeros(run, queries)), run.splits.validation)
    assert torch.equal(found, torch.zeros(60)) and found.is_floating_point()


@pytest.mark.parametrize(
    ("line", "said"), [("1 / 0", "ZeroDivisionError: division by zero"), ("raise SystemExit(3)", "SystemExit: 3")]
)
def test_what_makes_no_workload_is_one_line(tmp_path, line, said):
    path = tmp_path / "making.py"
    path.write_text(f"def make():\n    {line}\n")
    with pytest.raises(sr.SamattrError) as raised:
        sr.load_workload(f"{path}:make")
    assert str(raised.value) == f"{path}:make makes no workload: {said}, at making.py:2"


def test_a_file_that_leaves_the_program_is_one_line(tmp_path):
    (tmp_path / "leaving.py").write_text("import sys\n\nsys.exit('two\\nlines')\n")
    with pytest.raises(sr.SamattrError, match=r"leaving.py could not be imported: SystemExit: two$"):
        sr.load_workload(f"{tmp_path / 'leaving.py'}:tiny")


def test_a_wrapped_function_does_not_take_the_name_of_what_it_wraps(registering, caplog):
    known = sr.methods()["tracin"]
    sr.method("tracin", summary="not TracIn", source="them")(functools.wraps(known.function)(lambda *_: None))
    assert sr.methods()["tracin"] is known
    assert caplog.messages == [
        f"method 'tracin' of {__name__} is left out: baselines.methods.tracin has one of that name"
    ]
