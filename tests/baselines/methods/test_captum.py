"""TracIn and Arnoldi by captum: against our own where it is the same, against the formulas, and the library's traps."""

import pytest
import torch
from torch import nn

import samattr_ref as sr
from baselines.methods import captum_arnoldi
from tests.baselines.methods.plain_rivals import Lent, Twin
from tests.conftest import small
from tests.samattr_ref.test_zoo import assert_close
from tests.samattr_ref.zoo import VECTORS, ZOO, Network, workload_of

pytest.importorskip("captum")

ARNOLDI = {"damping": 0.3, "dimensions": 8, "iterations": 9}


def full_batch():
    return small("digits-mlp", batch_size=None, steps=12, schedule="constant")


def test_with_full_batches_tracin_cp_is_our_own():
    run = sr.train(full_batch())
    found = sr.attribute(run, "captum-tracin-cp", checkpoints=3)
    assert_close(found.values, sr.attribute(run, "tracin-cp", checkpoints=3).values)
    assert found.diagnostics == {"checkpoints": 3, "by_hooks": True}


@pytest.mark.parametrize("name", ["logreg", "tanh", "colour"])
def test_scores_are_those_of_the_formulas(name):
    run = sr.train(workload_of(ZOO[name]))
    twin, last = Twin(run), list(run.objective.layout.spans.values())[-2]
    assert_close(sr.attribute(run, "captum-tracin-cp", checkpoints=3).values, twin.tracin(3))
    assert_close(sr.attribute(run, "captum-tracin-cp-fast", checkpoints=3).values, twin.tracin(3, last))
    assert_close(sr.attribute(run, "captum-arnoldi", **ARNOLDI).values, twin.arnoldi(0.3, 9), 1e-7)


def test_a_whole_krylov_space_is_the_influence_function_and_captum_throws_its_last_direction_away(monkeypatch):
    """Of 15 parameters of a linear network with three classes, ten directions and the start are reached."""
    run = sr.train(workload_of(ZOO["logreg"]))
    exact = sr.attribute(run, "if", damping=0.05).values
    ended = sr.attribute(run, "captum-arnoldi", damping=0.05, dimensions=14, iterations=15).values
    assert 0.05 < float((ended - exact).abs().max() / exact.abs().max()) < 0.5
    monkeypatch.setattr(captum_arnoldi, "LEAST_NORM", 0.0)
    assert_close(sr.attribute(run, "captum-arnoldi", damping=0.05, dimensions=11, iterations=12).values, exact, 1e-6)
    with pytest.raises(sr.SamattrError, match="eigenvectors of the Hessian are none"):
        sr.attribute(run, "captum-arnoldi", damping=0.05, dimensions=14, iterations=15)


def test_a_hessian_of_the_mean_would_be_seen(monkeypatch):
    """Captum's is that of the sum: damped as if it were that of the mean, R is no root of the inverse."""
    run = sr.train(small(n_train=30))
    monkeypatch.setattr(captum_arnoldi, "total_damping", lambda run, damping: (damping + 0.001) / run.n_train)
    with pytest.raises(sr.SamattrError, match="eigenvectors of the Hessian are none"):
        sr.attribute(run, "captum-arnoldi", **ARNOLDI)


def test_where_hooks_are_wrong_a_pass_a_point_is_taken():
    def norms():
        return nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Tanh(), nn.Linear(5, 3))

    run = sr.train(sr.Workload("norms", VECTORS, Network(norms), sr.SamRecipe(steps=8, batch_size=10), dtype="float64"))
    found = sr.attribute(run, "captum-tracin-cp", checkpoints=2)
    assert found.diagnostics["by_hooks"] is False
    assert_close(found.values, Twin(run).tracin(2))


def frozen():
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    network[0].requires_grad_(False)
    return network


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return 2 * self.layer(x)


@pytest.mark.parametrize(
    ("method", "make", "said"),
    [
        ("captum-tracin-cp", frozen, "captum cannot follow this network"),
        ("captum-arnoldi", frozen, "captum cannot follow this network"),
        ("captum-tracin-cp-fast", Scaled, "needs a last nn.Linear that gives the logits, and 'layer' does not"),
        ("captum-tracin-cp-fast", Lent, "whose weight is used there alone, not as 'layer' is"),
    ],
)
def test_networks_that_it_does_not_follow_are_one_line(method, make, said):
    run = sr.train(sr.Workload("odd", VECTORS, Network(make), sr.SamRecipe(steps=8, batch_size=10), dtype="float64"))
    with pytest.raises(sr.SamattrError, match=said) as caught:
        sr.attribute(run, method, checkpoints=2) if "tracin" in method else sr.attribute(run, method)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("method", "options", "said"),
    [
        ("captum-tracin-cp", {"checkpoints": 41}, "1..40|number of steps|steps"),
        ("captum-arnoldi", {"damping": -1.0}, "damping must be"),
        ("captum-arnoldi", {"dimensions": 50, "iterations": 50}, "less than iterations"),
        ("captum-arnoldi", {"dimensions": 0}, "at least 1"),
    ],
)
def test_options_out_of_range_are_refused(method, options, said):
    with pytest.raises(sr.SamattrError, match=said):
        sr.attribute(sr.train(small()), method, **options)


def test_a_seed_says_where_the_krylov_space_begins():
    run = sr.train(small())
    first = sr.attribute(run, "captum-arnoldi", **ARNOLDI).values
    assert torch.equal(first, sr.attribute(run, "captum-arnoldi", **ARNOLDI).values)
    assert not torch.equal(first, sr.attribute(run, "captum-arnoldi", **ARNOLDI, seed=1).values)
