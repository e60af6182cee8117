"""Every network and data source of the zoo is attributed as the plain oracle says, or refused in one line."""

from functools import cached_property

import pytest
import torch

import samattr_ref as sr
from baselines.engines import retrain, workers
from samattr_ref.support.registered import is_own
from samattr_ref.training import _Trainer
from tests.conftest import KNOWING
from tests.samattr_ref.oracle import (
    CHECKPOINTS,
    DAMPING,
    ORDER,
    SCALE,
    VALUES,
    Oracle,
    plain_run,
    retraining_differences,
    sample_gradients,
    trained_on,
)
from tests.samattr_ref.zoo import ZOO, workload_of

RIGHT = [name for name, animal in ZOO.items() if animal.refused is None]
REFUSED = [name for name, animal in ZOO.items() if animal.refused is not None]
QUICK = {
    *(
        "tanh",
        "regression",
        "multi-label",
        "next-token",
        "residual",
        "frozen-first",
        "tied-closure",
        "dot-product-attention",
        "control-flow-by-sample",
    ),
    *("dropout", "batch-norm", "counter", "relu-of-the-input", "captured-by-value", "detached", "output-nan"),
    *("drawn-by-the-system", "load-tuple"),
}
"""The rows that are not slow: one for each way in which a network is called, and one for each rule that refuses one."""


def rows(names):
    """The rows as parameters of a test, all but a few of them marked as slow."""
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in names]


ORACLES = {
    "curvature": "hessian",
    "damping": DAMPING,
    "scale": SCALE,
    "order": ORDER,
    "checkpoints": CHECKPOINTS,
}
METHODS = {
    name: {option: ORACLES.get(option, value) for option, value in method.benchmark.items()}
    for name, method in KNOWING.items()
}
LINEAR = [name for name, method in KNOWING.items() if method.linear]
GROUPS = [torch.tensor([0]), torch.tensor([3, 17, 38]), torch.arange(5, 13)]


def assert_close(found, expected, tolerance=1e-9):
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * float(expected.abs().max()))


class Case:
    """A row that must be right: its run, what the oracle says of it, and its scores once they are asked for."""

    def __init__(self, name):
        self.animal = ZOO[name]
        self.workload = workload_of(self.animal)
        self.run = sr.train(self.workload)
        self.trained = self.workload, self.run.batches, self.run.step_sizes
        self._scores = {}

    @cached_property
    def oracle(self):
        return Oracle(*self.trained, self.workload.queries)

    @cached_property
    def retrained(self):
        """Where the plain run ends without each group."""
        weights = torch.ones(len(GROUPS), self.run.n_train).to(self.run.parameters)
        for row, group in zip(weights, GROUPS, strict=True):
            row[group] = 0
        return torch.stack([plain_run(*self.trained, row).end for row in weights])

    @cached_property
    def again(self):
        """Scores of the mean query and of the queries, of the run trained anew, in another order of methods."""
        fresh = sr.train(self.workload)  # its network built and tried anew
        queries = self.workload.queries
        return {
            method: [
                sr.attribute(fresh, method, asked, **METHODS[method]).values for asked in (queries.pool(), queries)
            ]
            for method in reversed(METHODS)
        }

    def scores(self, method):
        if method not in self._scores:
            self._scores[method] = sr.attribute(self.run, method, **METHODS[method]).values
        return self._scores[method]


@pytest.fixture(scope="module", autouse=True)
def one_core():
    """The networks are so small that threads only wait for each other."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


@pytest.fixture(scope="module", params=rows(RIGHT))
def case(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:  # a store of its own: no other row's run can be found in it
        patch.setenv("SAMATTR_STORE", str(tmp_path_factory.mktemp("zoo")))
        with trained_on(ZOO[request.param].loss):
            yield Case(request.param)


def test_the_oracle_knows_every_method_of_the_project():
    assert {name for name, method in KNOWING.items() if is_own(method.function.__module__)} <= set(Oracle.METHODS)


def test_run_is_the_plain_loop(case):
    plain = case.oracle.run
    assert_close(case.run.parameters, plain.end)
    assert_close(case.run.checkpoints, torch.stack(plain.states))


def test_sample_gradients(case):
    run, plain = case.run, case.oracle.run
    for examples in (run.train, run.splits.queries):
        expected = sample_gradients(case.oracle.module, plain.end, examples.x, examples.y)
        assert_close(run.objective.sample_gradients(plain.end, examples.x, examples.y), expected)


def test_gradients_of_other_numbers_of_a_query(case):
    run, plain = case.run, case.oracle.run
    for name, value in VALUES.items():
        queries = run.splits.queries.of(name)
        if name != "loss" and not case.animal.loss.classes:
            with pytest.raises(sr.SamattrError, match="class logits"):
                run.query_gradients(queries)
            continue
        expected = sample_gradients(case.oracle.module, plain.end, queries.x, queries.y, value)
        assert_close(run.query_gradients(queries, plain.end), expected)
        assert_close(run.query_gradients(queries.pool(), plain.end)[0], expected.mean(0))


@pytest.mark.parametrize("engine", ["loop", "batched", "stacked"])
def test_retraining(case, engine):
    torch.set_num_threads(2)
    torch.set_num_threads(workers(case.run, engine))  # side by side, none may see another's parameters
    try:
        found = retrain(case.run, GROUPS, engine=engine, together=2)
    except sr.SamattrError as error:
        if engine == "loop":  # the others are for the networks that they fit
            raise
        pytest.skip(str(error))
    finally:
        torch.set_num_threads(1)
    assert_close(found, case.retrained)


@pytest.mark.parametrize("method", Oracle.METHODS)
def test_scores(case, method):
    assert_close(case.scores(method), case.oracle.scores(method))


@pytest.mark.parametrize("method", LINEAR)
def test_pooled_queries(case, method):
    pooled, _ = case.again[method]
    assert_close(pooled[:, 0], case.scores(method).mean(1))


@pytest.mark.parametrize("method", ["sam-unrolled", "sam-hif"])
def test_parameter_change(case, method):
    change = sr.parameter_change(case.run, method, GROUPS, **METHODS[method])
    along = change @ case.run.query_gradients(case.workload.queries).T
    assert_close(along, torch.stack([case.scores(method)[group].sum(0) for group in GROUPS]))


def test_derivative_of_retraining(case):
    if case.animal.kinks:
        pytest.skip("finite differences may step over a kink")
    points = [4, 25]
    expected = retraining_differences(*case.trained, points, case.workload.queries)
    assert_close(case.scores("sam-unrolled")[points], expected, 1e-5)


def test_order_of_methods_and_queries(case):
    for method, (_, found) in case.again.items():
        if case.animal.reordered and found.is_cuda:
            assert_close(found, case.scores(method))
        else:
            assert torch.equal(found, case.scores(method)), method


@pytest.mark.slow
def test_runs_that_differ_have_other_keys():
    """The store finds a run by its key: networks that end elsewhere must not share one."""
    ends = {}
    for name in RIGHT:
        workload = workload_of(ZOO[name])
        batches = workload.recipe.batches(len(workload.splits.train), workload.drawn_by)
        with trained_on(workload.loss):
            end = plain_run(workload, batches, workload.recipe.step_sizes()).end
        ends.setdefault(workload.key(), {})[name] = end
    for named in ends.values():
        for name, end in named.items():
            assert torch.equal(end, next(iter(named.values()))), f"{name} has the key of {next(iter(named))}"


@pytest.mark.parametrize("name", rows(REFUSED))
def test_refused(name, fresh_store, monkeypatch):
    monkeypatch.setattr(_Trainer, "step", lambda *_: pytest.fail("a step was trained"))
    with pytest.raises(sr.SamattrError, match=ZOO[name].refused) as raised:
        sr.train(workload_of(ZOO[name]))
    assert "\n" not in str(raised.value)
    assert not list(fresh_store.rglob("run.json"))
