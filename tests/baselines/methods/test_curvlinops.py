"""KFAC by curvlinops: against its formula, our `if` where it is exact, and what its factors are not made of."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import samattr_ref as sr
from tests.baselines.methods.plain_rivals import Twin
from tests.conftest import small, small_cnn
from tests.samattr_ref.networks import Tied
from tests.samattr_ref.test_zoo import assert_close
from tests.samattr_ref.zoo import COLOURS, VECTORS, ZOO, Network, workload_of

pytest.importorskip("curvlinops")


def tiny(data, make):
    recipe = sr.SamRecipe(steps=8, batch_size=10, weight_decay=0.01)
    return sr.Workload("tiny", data, Network(make), recipe, dtype="float64")


def normed():
    convolution, head = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.Linear(16, 3)
    return nn.Sequential(convolution, nn.GroupNorm(2, 4), nn.GELU(), nn.AvgPool2d(4), nn.Flatten(), head)


def padded(**settings):
    return nn.Sequential(
        nn.Conv2d(3, 3, 3, padding=1, **settings), nn.GELU(), nn.AvgPool2d(8), nn.Flatten(), nn.Linear(3, 3)
    )


RUNS = {
    "logreg": lambda: small(n_train=30, n_query=3),
    "mlp": lambda: small("digits-mlp", n_train=30, hidden=(6,)),
    "cnn": lambda: small_cnn(n_train=20),
    "normed": lambda: tiny(COLOURS, normed),
}


@pytest.mark.parametrize("name", RUNS)
def test_scores_are_those_of_the_formula(name):
    run = sr.train(RUNS[name]())
    found = sr.attribute(run, "curvlinops-kfac", damping=0.05)
    assert_close(found.values, Twin(run).kfac(0.05))
    assert found.diagnostics["left_out"] == (8 if name == "normed" else 0)


def test_where_all_predictions_are_the_same_it_is_the_exact_influence_function():
    run = sr.train(small(n_train=50, weight_decay=0.02))
    run = replace(run, parameters=torch.zeros_like(run.parameters))
    exact = sr.attribute(run, "if", damping=0.05, solver="dense").values
    assert_close(sr.attribute(run, "curvlinops-kfac", damping=0.05).values, exact)


@pytest.mark.parametrize(
    ("data", "make", "said"),
    [
        (VECTORS, Tied, "'scale' .* is in neither"),
        (COLOURS, lambda: padded(groups=3), "curvlinops"),
        (COLOURS, lambda: padded(padding_mode="reflect"), "takes other gradients by '0.weight'"),
    ],
)
def test_what_the_factors_do_not_cover_is_refused(data, make, said):
    run = sr.train(tiny(data, make))
    with pytest.raises(sr.SamattrError, match=said) as caught:
        sr.attribute(run, "curvlinops-kfac")
    assert "\n" not in str(caught.value)


def test_a_layer_that_the_backward_pass_calls_again_is_refused():
    run = sr.train(workload_of(ZOO["checkpoint"]))
    with pytest.raises(sr.SamattrError, match="each layer to be called once"):
        sr.attribute(run, "curvlinops-kfac")


def test_curvature_that_nothing_is_added_to_is_refused():
    with pytest.raises(sr.SamattrError, match="damping must be larger than 0"):
        sr.attribute(sr.train(small(n_train=30, weight_decay=0.0)), "curvlinops-kfac", damping=0.0)
