"""Influence functions by dattri: our own `if` where it is the same, the formulas else, and the library's traps."""

import math

import pytest
import torch
from torch import nn

import samattr_ref as sr
from baselines import dattri_peer
from baselines.methods import dattri_influence
from tests.baselines.methods.plain_rivals import Twin
from tests.conftest import small
from tests.samattr_ref.test_zoo import assert_close
from tests.samattr_ref.zoo import VECTORS, ZOO, Network, workload_of

pytest.importorskip("dattri")

RUNS = {
    "logreg": lambda: small(n_train=20, n_query=3, weight_decay=0.01),
    "mlp": lambda: workload_of(ZOO["tanh"]),
    "cnn": lambda: workload_of(ZOO["colour"]),
}


@pytest.mark.parametrize("name", RUNS)
def test_solved_exactly_it_is_our_influence_function(name):
    run = sr.train(RUNS[name]())
    exact = sr.attribute(run, "if", damping=0.3).values
    for method in ("dattri-if-explicit", "dattri-if-cg"):
        found = sr.attribute(run, method, damping=0.3)
        assert_close(found.values, exact, 1e-5)
        assert found.diagnostics["residual"] < 1e-6


@pytest.mark.parametrize("name", RUNS)
def test_datainf_is_the_mean_of_inverses_a_layer(name):
    run = sr.train(RUNS[name]() if name != "logreg" else workload_of(ZOO["logreg"]))
    assert_close(sr.attribute(run, "dattri-datainf", damping=0.05).values, Twin(run).datainf(0.05), 1e-8)


def test_lissa_with_all_points_is_its_series_and_ends_at_the_influence_function():
    run = sr.train(workload_of(ZOO["tanh"]))
    series = {"depth": 30, "scale": 8.0}
    found = sr.attribute(run, "dattri-if-lissa", damping=1.0, batch=40, **series).values
    assert_close(found, Twin(run).lissa(1.0, **series))
    ended = sr.attribute(run, "dattri-if-lissa", damping=1.0, batch=40, depth=150, scale=4.0).values
    assert_close(ended, sr.attribute(run, "if", damping=1.0).values, 1e-4)


def test_lissa_draws_by_its_seed_and_comes_near():
    run = sr.train(workload_of(ZOO["tanh"]))
    options = {"damping": 1.0, "depth": 60, "batch": 8, "scale": 8.0}
    first = sr.attribute(run, "dattri-if-lissa", **options).values
    assert torch.equal(first, sr.attribute(run, "dattri-if-lissa", **options).values)
    assert not torch.equal(first, sr.attribute(run, "dattri-if-lissa", **options, seed=1).values)
    exact = sr.attribute(run, "if", damping=1.0).values
    assert float((first - exact).norm() / exact.norm()) < 0.3


def test_batches_of_training_points_are_what_dattri_cannot_do(monkeypatch):
    """Given in two batches, inverses of halves are summed: our residual sees it."""
    run = sr.train(workload_of(ZOO["tanh"]))
    solver = dattri_peer.DattriPeer.solver

    def in_halves(self, attributor, **settings):
        class Halved(attributor):
            def cache(self, loader):
                super().cache([(half,) for half in loader[0][0].chunk(2)])

        return solver(self, Halved, **settings)

    monkeypatch.setattr(dattri_peer.DattriPeer, "solver", in_halves)
    for method in ("dattri-if-explicit", "dattri-if-cg"):
        with pytest.raises(sr.SamattrError, match="left a residual of"):
            sr.attribute(run, method, damping=1.0)


def test_conjugate_gradients_that_have_ended_go_on_to_nan(monkeypatch):
    """So that ours are asked for more and more steps, and each query is kept once it is solved."""
    run = sr.train(small(weight_decay=0.05, dtype="float32"))
    monkeypatch.setattr(dattri_influence, "FIRST_STEPS", 256)
    with pytest.raises(sr.SamattrError, match="residual of nan"):
        sr.attribute(run, "dattri-if-cg", damping=0.5)
    monkeypatch.undo()
    assert sr.attribute(run, "dattri-if-cg", damping=0.5).values.isfinite().all()


@pytest.mark.parametrize(
    ("method", "options", "said"),
    [
        ("dattri-if-explicit", {"damping": -0.1}, "damping must be"),
        ("dattri-if-cg", {"damping": math.nan}, "damping must be"),
        ("dattri-if-cg", {"max_iterations": 0}, "at least 1"),
        ("dattri-if-cg", {"damping": 0.01, "max_iterations": 2}, "left a residual of .*: more damping"),
        ("dattri-if-lissa", {"depth": 0}, "at least 1"),
        ("dattri-if-lissa", {"scale": 0.001}, "scale must be"),
        ("dattri-if-lissa", {"damping": 0.1, "scale": 0.12, "depth": 30}, "left a residual of .*larger scale"),
        ("dattri-datainf", {"damping": -1.0}, "damping must be"),
    ],
)
def test_what_is_out_of_range_or_not_solved_is_refused(method, options, said):
    with pytest.raises(sr.SamattrError, match=said) as caught:
        sr.attribute(sr.train(small(n_train=30)), method, **options)
    assert "\n" not in str(caught.value)


def test_what_is_too_large_is_refused_before_it_is_begun(monkeypatch):
    run = sr.train(small(weight_decay=0.0))
    with pytest.raises(sr.SamattrError, match="damping must be larger than 0"):
        sr.attribute(run, "dattri-datainf", damping=0.0)
    monkeypatch.setattr(dattri_influence, "LARGEST", 1000)
    for method in ("dattri-if-explicit", "dattri-datainf"):
        with pytest.raises(sr.SamattrError, match="at once"):
            sr.attribute(run, method)


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(x if bool(x.sum() > -1e9) else -x)


def test_a_network_that_it_cannot_follow_is_one_line():
    workload = sr.Workload("branching", VECTORS, Network(Branching), sr.SamRecipe(steps=8, batch_size=10))
    with pytest.raises(sr.SamattrError, match="dattri cannot follow this network") as caught:
        sr.attribute(sr.train(workload), "dattri-if-cg")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", ["dattri-if-cg", "dattri-if-lissa"])
def test_a_hessian_that_is_wrong_in_its_mode_is_refused(method):
    """Of weight norm, torch's own second derivative is wrong, reverse over reverse."""
    with pytest.raises(sr.SamattrError, match="takes another Hessian"):
        sr.attribute(sr.train(workload_of(ZOO["weight-norm"])), method)


def test_its_ekfac_is_none():
    """At ω = 0 a linear network's curvature is a Kronecker product: any EK-FAC is the influence function there."""
    from dataclasses import replace

    from dattri.algorithm.influence_function import IFAttributorEKFAC
    from dattri.task import AttributionTask
    from torch.func import functional_call
    from torch.utils.data import DataLoader, TensorDataset

    run = sr.train(small(n_train=50, weight_decay=0.02))
    run = replace(run, parameters=torch.zeros_like(run.parameters))
    exact = sr.attribute(run, "if", damping=0.05).values
    assert_close(sr.attribute(run, "curvlinops-kfac", damping=0.05).values, exact)
    module = run.workload.build()[0].module
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()

    def loss(parameters, data):
        return nn.functional.cross_entropy(functional_call(module, parameters, (data[0],)), data[1])

    peer = IFAttributorEKFAC(AttributionTask(loss, module, module.state_dict()), damping=0.07)
    train, queries = (
        DataLoader(TensorDataset(part.x, part.y), batch_size=len(part)) for part in (run.train, run.workload.queries)
    )
    peer.cache(train)
    found = peer.attribute(train, queries).detach().double() / run.n_train
    assert float((found - exact).abs().max() / exact.abs().max()) > 0.5
