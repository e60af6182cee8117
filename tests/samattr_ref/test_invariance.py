"""Scores do not depend on chunk sizes, on the order of training points, or on the order and company of queries."""

import pytest
import torch

import samattr_ref as sr
from baselines.tiny import renumbered
from samattr_ref.data import Examples
from samattr_ref.support import memory as chunking
from tests.conftest import KNOWING, small, small_cnn

CASES = {name: method.benchmark for name, method in KNOWING.items()}


@pytest.fixture(scope="module", params=[small, small_cnn], ids=["logreg", "cnn"])
def run(request):
    return sr.train(request.param())


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_parts_that_fit_in_memory(run, name, monkeypatch):
    whole = sr.attribute(run, name, **CASES[name]).values
    monkeypatch.setattr(chunking, "DEFAULT_BYTES", 8 * 1_600_000)
    monkeypatch.setattr(chunking, "BLOCK", 64)  # few of the queries
    cut = sr.attribute(run.fresh(), name, **CASES[name]).values
    torch.testing.assert_close(cut, whole, rtol=1e-10, atol=1e-10 * float(whole.abs().max()))


@pytest.mark.parametrize("name", CASES)
def test_order_of_training_points(run, name):
    workload, order = renumbered(run.workload)
    permuted = sr.train(workload)
    assert torch.equal(permuted.parameters, run.parameters)
    before = sr.attribute(run, name, **CASES[name]).values
    after = sr.attribute(permuted, name, **CASES[name]).values
    torch.testing.assert_close(after, before[order], rtol=1e-10, atol=1e-10 * float(before.abs().max()))


def test_no_method_changes_a_bit_of_another():
    """In float32, where every other order of operations shows."""
    run = sr.train(small("digits-mlp", hidden=(4,), dtype="float32"))
    cases = {name: method.benchmark for name, method in sr.methods().items()}
    fresh = {name: sr.attribute(run.fresh(), name, **cases[name]).values for name in cases}
    for names in (list(cases), list(cases)[::-1]):
        shared = run.fresh()
        for name in names:
            assert torch.equal(sr.attribute(shared, name, **cases[name]).values, fresh[name]), name


@pytest.mark.parametrize("name", CASES)
def test_order_and_company_of_queries(run, name):
    queries = run.workload.queries
    whole = sr.attribute(run, name, queries, **CASES[name]).values
    for order in (torch.arange(len(queries)).flip(0), torch.tensor([2])):
        part = sr.attribute(run, name, queries.take(order), **CASES[name]).values
        torch.testing.assert_close(part, whole[:, order], rtol=1e-10, atol=1e-10 * float(whole.abs().max()))


@pytest.mark.parametrize("name", CASES)
def test_the_mean_query_is_the_mean_of_the_queries(run, name):
    validation = run.splits.validation
    each = sr.attribute(run, name, validation, **CASES[name]).values.mean(1)
    torch.testing.assert_close(sr.influence_score(run, name, validation, **CASES[name]), each, rtol=1e-9, atol=1e-12)


def test_queries_of_another_shape_are_refused(run):
    wrong = Examples(torch.zeros(3, 1, 5, 5, dtype=torch.float64), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(sr.SamattrError, match=r"shape \[1, 5, 5\]"):
        sr.attribute(run, "grad-dot", wrong)
