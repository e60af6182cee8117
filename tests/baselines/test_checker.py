"""The checker passes every method of the project, and names each planted fault in one line."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import baselines
import samattr_ref as sr
from baselines import tiny
from baselines.checker import CHECKS, NEGATED
from baselines.metrics import spearman_per_query
from samattr_ref.support.memory import chunk_length

OPTIONS = {"ekfac": {"draws": None}, "dattri-if-lissa": {"batch": 41}}
"""What is drawn follows the numbers of points or queries: nothing is drawn with these."""

AVERAGED = ("captum-tracin-cp", "captum-tracin-cp-fast")
"""They take every point for one that every batch holds, and are told so."""

METHODS = [
    pytest.param(
        name,
        method.benchmark | OPTIONS.get(name, {}),
        id=name,
        marks=pytest.mark.skipif(method.library is not None and not method.library.installed, reason="not installed"),
    )
    for name, method in sr.methods(optional=True).items()
    if name != "label-wrong"  # no label of the tiny workloads is wrong
]


def faults(method, **options):
    """What failed, by check."""
    return {found.check: found.line for found in baselines.check(method, options) if found.passed is False}


def products(run, queries):
    """A right method of no known family: gradient dot products."""
    train = run.objective.sample_gradients(run.parameters, run.train.x, run.train.y)
    return train @ run.query_gradients(queries).T


@pytest.mark.parametrize(("name", "options"), METHODS)
def test_every_method_of_the_project_passes(name, options):
    assert set(faults(name, **options)) == ({"unused-points"} if name in AVERAGED else set())


@pytest.mark.parametrize(("name", "options"), METHODS)
def test_the_sign_is_clear_but_for_controls(name, options):
    run = sr.train(tiny.DOUBLED)
    validation = run.splits.validation
    true = baselines.leave_one_out(run, "stacked").effects(validation).numpy()
    found = spearman_per_query(sr.attribute(run, name, validation, **options).values.numpy(), true).mean()
    if sr.methods(optional=True)[name].family in (sr.Family.CONTROL, sr.Family.CHANCE):
        assert abs(found) < 0.1 < -NEGATED
    else:
        assert found > -NEGATED


def test_the_tiny_runs_are_what_they_are_said_to_be():
    run, doubled = sr.train(tiny.BATCHED), sr.train(tiny.DOUBLED)
    assert len(run.workload.queries) != run.n_train == len(run.splits.validation)
    assert 0 < len(set(range(run.n_train)) - set(run.batches.flatten().tolist())) < run.n_train / 2
    workload, order = tiny.renumbered(tiny.BATCHED)
    other = sr.train(workload)
    assert torch.equal(other.parameters, run.parameters) and not torch.equal(order, torch.arange(run.n_train))
    assert torch.equal(other.train.x, run.train.x[order]) and torch.equal(order[other.batches], run.batches)
    assert torch.equal(doubled.train.x[0], doubled.train.x[-1]) and doubled.train.y[0] == doubled.train.y[-1]
    assert all(len(doubled.batch(t)) == doubled.n_train for t in range(doubled.n_steps))


def test_a_right_function_of_no_family_passes_with_a_note():
    findings = {found.check: found for found in baselines.check(products)}
    assert list(findings) == list(CHECKS)
    assert {name for name, found in findings.items() if not found.passed} == {"unused-points", "linear"}
    assert findings["unused-points"].passed is None and "family='trajectory'" in findings["unused-points"].line
    assert str(findings["sign"]) == "sign            ok"


@pytest.mark.parametrize(
    "kind",
    [
        lambda scores: scores.numpy(),
        lambda scores: scores.tolist(),
        lambda scores: scores.numpy().astype(np.float32),
        lambda scores: (1e6 * scores).round().long(),
        lambda scores: sr.Scores(scores, {"said": "beside them"}),
    ],
    ids=["numpy", "list", "float32", "int", "Scores"],
)
def test_what_torch_reads_as_a_tensor_is_accepted(kind):
    assert faults(lambda run, queries: kind(products(run, queries))) == {}


def wrong_sign(run, queries):
    return -products(run, queries)


def transposed(run, queries):
    return products(run, queries).T


def transposed_where_square(run, queries):
    scores = products(run, queries).T
    return scores if len(scores) == run.n_train else scores.T


def unseeded(run, queries):
    return torch.rand(run.n_train, len(queries))


def seeded(run, queries):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(run.n_train, len(queries), generator=generator)


def not_a_number(run, queries):
    scores = products(run, queries)
    scores[3, 1] = torch.nan
    return scores


def by_place_of_the_query(run, queries):
    return products(run, queries) * torch.arange(1.0, len(queries) + 1)


def centred_over_queries(run, queries):
    scores = products(run, queries)
    return scores - scores.mean(1, keepdim=True)


def by_number_of_the_point(run, queries):
    return products(run, queries) * torch.arange(1.0, run.n_train + 1)[:, None]


def batches_drawn_anew(run, queries):
    recipe = run.workload.recipe
    order = torch.randperm(run.n_train, generator=torch.Generator().manual_seed(0))[: recipe.batch_size]
    scores = products(run, queries)
    scores[order] *= 5
    return scores


def by_how_many_queries(run, queries):
    return products(run, queries) / len(queries)


def one_dimension(run, queries):
    return products(run, queries).mean(1)


def raising(run, queries):
    return products(run, queries) * (1 // len([]))


def raising_for_one_query(run, queries):
    return products(run, queries) * (1 + 0 // (len(queries) - 1))


def refusing(run, queries):
    raise sr.SamattrError("no damping was given: give one")


def without_queries(run):
    return run.parameters


def leaving(run, queries):
    raise SystemExit(3)


def nothing(run, queries):
    products(run, queries)


def imaginary(run, queries):
    return products(run, queries) * 1j


def recorded(run, queries):
    return products(run, queries).requires_grad_()


def scores_of_an_array(run, queries):
    return sr.Scores(products(run, queries).numpy())


def without_a_default(run, queries, *, damping: float):
    return products(run, queries) / damping


def kept_whatever_is_asked(run, queries):
    if "scores" not in run.cache:
        run.cache["scores"] = products(run, queries)
    return run.cache["scores"]


def overwriting_parameters(run, queries):
    run.parameters.mul_(0.5)
    return products(run, queries)


def overwriting_queries(run, queries):
    scores = products(run, queries)
    queries.x.zero_()
    return scores


LATER = {"query-company", "chunks"}
PLANTED = [
    (wrong_sign, {"sign"}, r"look negated .*: -0\.\d\d\): return their negative; .* raises the query's loss$"),
    (transposed, {"shape"}, r"\[6, 40\] for \[n_train, n_query\] = \[40, 6\]: the scores look transposed"),
    (transposed_where_square, {"transposed"}, "look transposed there"),
    (unseeded, {"deterministic"}, r"second call .* other scores .*: draw from a generator that you seed"),
    (seeded, {"query-order", "training-order", "duplicates", "transposed", *LATER}, "order of the queries"),
    (not_a_number, {"finite"}, "1 of 240 scores are NaN or infinite, the first that of point 3 for query 1"),
    (by_place_of_the_query, {"query-order", "transposed", *LATER}, "not on its position"),
    (centred_over_queries, LATER, "sums or means over queries"),
    (by_number_of_the_point, {"training-order", "duplicates"}, "not on its number"),
    (batches_drawn_anew, {"training-order"}, r"run\.batch\(t\)"),
    (by_how_many_queries, LATER, "in two calls"),
    (one_dimension, {"shape"}, r"\[40\] for .* = \[40, 6\]: return a row for each training point"),
    (raising, {"runs"}, r"it raises ZeroDivisionError: [^:]* by zero, at test_checker\.py:LINE"),
    (raising_for_one_query, {"query-company"}, "ZeroDivisionError"),
    (refusing, {"runs"}, "^no damping was given: give one$"),
    (
        without_queries,
        {"options"},
        r"without_queries cannot be called as \(run, queries, \*\*options\): too many positional arguments",
    ),
    (leaving, {"runs"}, r"it raises SystemExit: 3, at test_checker\.py:\d+$"),
    (nothing, {"returns"}, r"a NoneType, not scores: return a tensor \[n_train, n_query\]"),
    (imaginary, {"returns"}, "sparse or complex"),
    (recorded, {"returns"}, r"scores\.detach\(\)"),
    (scores_of_an_array, {"returns"}, "Scores of a ndarray: make it a tensor"),
    (without_a_default, {"options"}, "option damping of .* has no default: give it one, or .* --option damping=VALUE"),
    (kept_whatever_is_asked, {"transposed", "sign", *LATER}, r"returned scores of shape \[40, 6\]"),
    (overwriting_parameters, {"run-unchanged"}, r"it changes run\.parameters, .*: work on a copy"),
    (overwriting_queries, {"run-unchanged"}, r"it changes queries\.x,"),
]
FIRST_LINE = raising.__code__.co_firstlineno + 1


@pytest.mark.parametrize(("method", "checks", "said"), PLANTED, ids=[method.__name__ for method, _, _ in PLANTED])
def test_a_planted_fault_is_named(method, checks, said):
    found = faults(method)
    assert set(found) == checks
    assert any(re.search(said.replace("LINE", f"{FIRST_LINE}$"), line) for line in found.values()), found
    assert all("\n" not in line for line in found.values())
    assert faults(products) == {}  # nothing of it stays behind


def declared(function, **facts):
    return sr.method("planted", summary="planted", source="here", **facts)(function)


def test_what_is_said_to_be_linear_is(registering):
    cubes = declared(lambda run, queries: products(run, queries) ** 3, linear=True)
    assert set(faults(cubes)) == {"linear"}
    assert "leave linear=True out" in faults(cubes)["linear"]
    blind = declared(
        lambda run, queries: (
            run.objective.sample_gradients(run.parameters, run.train.x, run.train.y)
            @ run.objective.sample_gradients(run.parameters, queries.x, queries.y).T
        ),
        linear=True,
    )
    assert set(faults(blind)) == {"linear"}
    assert faults(declared(products, linear=True)) == {}


def test_what_follows_the_run_gives_no_score_to_an_unused_point(registering):
    found = faults(declared(products, family="trajectory"))
    assert set(found) == {"unused-points"}
    assert re.fullmatch(
        r"point \d+ is in no batch and yet has a score .*: training is the same .*", found["unused-points"]
    )


def test_what_follows_the_bound_on_memory_is_seen(registering):
    def cut(run, queries):
        return products(run, queries) * chunk_length(1)

    assert faults(cut) == {}  # nobody cuts what no one has registered
    found = faults(declared(cut))
    assert set(found) == {"chunks"} and "where memory_bytes cuts the work" in found["chunks"]


def test_after_a_fault_that_all_depend_on_the_others_are_skipped():
    findings = baselines.check(unseeded)
    names = [found.check for found in findings]
    after = findings[names.index("deterministic") + 1 :]
    assert after and all(found.passed is None and found.line == "comes after deterministic" for found in after)


def test_options_are_taken_and_refused():
    assert faults(without_a_default, damping=2.0) == {}
    found = faults("tracin-cp", checkpionts=2)
    assert found == {
        "options": "unknown option of tracin-cp 'checkpionts': did you mean 'checkpoints'? known: checkpoints"
    }
    assert set(faults("tracin-cp", checkpoints=1000)) == {"runs"}
    with pytest.raises(sr.SamattrError, match="did you mean 'sam-gif'"):
        baselines.check("sam-gfi")


PAGE = (Path(__file__).parents[2] / "docs" / "a-method-of-your-own.md").read_text()


def test_the_page_explains_every_check_and_names_what_a_run_has():
    assert re.findall(r"^\| `([\w-]+)` \|", PAGE.split("## What each check says")[1], flags=re.MULTILINE) == list(
        CHECKS
    )
    run = sr.train(tiny.BATCHED)
    names = set(re.findall(r"`run\.(\w+)", PAGE))
    assert len(names) > 10
    for name in names:
        assert hasattr(run, name), name
    for name in re.findall(r"`run\.objective\.(\w+)", PAGE):
        assert hasattr(run.objective, name), name
