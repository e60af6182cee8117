"""Methods that are taken by name alone though they need no library: representer points, label quality, the oracle."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import baselines
import samattr_ref as sr
from baselines.studies.detection import confident_learning
from tests.baselines.methods.plain_rivals import Lent
from tests.conftest import small, small_cnn
from tests.samattr_ref.test_zoo import RIGHT, assert_close
from tests.samattr_ref.zoo import VECTORS, ZOO, Network, workload_of


def refitted(run, bias=True):
    """The last layer's weight and bias where the loss is least, by torch's own minimiser, and the features."""
    module = run.workload.build()[0].module
    with torch.no_grad():
        for name, value in run.objective.unflatten(run.parameters).items():
            module.get_parameter(name).copy_(value)
    head = [layer for layer in module.modules() if type(layer) is nn.Linear][-1]
    seen = []
    head.register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0].detach()))
    module(run.train.x), module(run.workload.queries.x)
    trained, asked = (torch.cat([f, f.new_ones(len(f), 1)], dim=1) for f in seen)
    theta = torch.cat([head.weight, head.bias[:, None]], dim=1).detach().clone().requires_grad_()
    fit = torch.optim.LBFGS(
        [theta], max_iter=3000, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def loss():
        fit.zero_grad()
        value = nn.functional.cross_entropy(trained @ theta.T, run.train.y)
        value = value + run.objective.weight_decay / 2 * theta.square().sum()
        value.backward()
        return value

    fit.step(loss)
    return theta.detach(), trained, asked


@pytest.mark.parametrize("make", [small, lambda: small("digits-mlp", hidden=(6,), weight_decay=0.01), small_cnn])
def test_representer_scores_are_what_logits_lose_along_the_query(make):
    run = sr.train(make())
    theta, trained, asked = refitted(run)
    decay, queries = run.objective.weight_decay, run.workload.queries
    alpha = nn.functional.one_hot(run.train.y, theta.shape[0]) - (trained @ theta.T).softmax(1)
    alpha /= decay * run.n_train
    assert_close((asked @ trained.T) @ alpha, asked @ theta.T, 1e-5)  # the theorem
    slopes = (asked @ theta.T).softmax(1) - nn.functional.one_hot(queries.y, theta.shape[0])
    expected = -(alpha @ slopes.T) * (trained @ asked.T)
    assert_close(sr.attribute(run, "representer").values, expected, 1e-5)


def test_of_a_stationary_linear_network_it_is_the_gradient_product_over_the_weight_decay():
    run = sr.train(small(weight_decay=0.02))
    theta = refitted(run)[0]
    run = replace(run, parameters=torch.cat([theta[:, :-1].flatten(), theta[:, -1]]))
    found = sr.attribute(run, "representer")
    assert_close(found.values, sr.attribute(run, "grad-dot").values / 0.02, 1e-6)
    assert found.diagnostics["moved"] < 1e-6


def test_a_frozen_bias_stays_what_it_is():
    def make():
        network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
        network[2].bias.requires_grad_(False)
        return network

    recipe = sr.SamRecipe(steps=8, batch_size=10, weight_decay=0.05)
    run = sr.train(sr.Workload("frozen", VECTORS, Network(make), recipe, dtype="float64"))
    assert sr.attribute(run, "representer").values.isfinite().all()


@pytest.mark.parametrize(
    ("make", "settings", "said"),
    [
        (lambda: nn.Linear(4, 3), {"weight_decay": 0.0}, "weight_decay larger than 0"),
        (Lent, {}, "whose weight is used there alone, not as 'layer' is"),
        (lambda: nn.Sequential(nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 3, 4), nn.Flatten()), {}, "needs a last layer"),
        (lambda: nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(-1)), {}, "gives the logits, and '0' does not"),
    ],
)
def test_representer_refuses_what_is_no_sum_over_points(make, settings, said):
    recipe = sr.SamRecipe(steps=8, batch_size=10, **({"weight_decay": 0.01} | settings))
    run = sr.train(sr.Workload("odd", VECTORS, Network(make), recipe, dtype="float64"))
    with pytest.raises(sr.SamattrError, match=said) as caught:
        sr.attribute(run, "representer")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", RIGHT)
def test_representer_is_right_or_refused_on_any_network(name):
    run = sr.train(workload_of(ZOO[name]))
    try:
        found = sr.attribute(run, "representer").values
    except sr.SamattrError as error:
        assert "\n" not in str(error)
    else:
        assert found.isfinite().all()


def test_label_quality_is_that_of_confident_learning():
    run = sr.train(small(n_train=50))
    found = sr.attribute(run, "cleanlab-quality").values
    np.testing.assert_allclose(found.numpy(), confident_learning(run, 5)[0][:, None].repeat(7, axis=1), atol=1e-12)


def test_of_the_runs_own_probabilities_the_margin_is_theirs():
    run = sr.train(small(n_train=50))
    found = sr.attribute(run, "cleanlab-quality", kind="confidence_weighted_entropy", folds=0).values[:, 0]
    p = run.predictions(run.train)
    own, entropy = p[torch.arange(50), run.train.y], -(p * p.log()).sum(1)
    assert torch.equal(found.argsort(), (-entropy / own).argsort())


@pytest.mark.parametrize(("options", "said"), [({"kind": "margin"}, "kind of label"), ({"folds": 1}, "folds must be")])
def test_options_of_label_quality_are_checked(options, said):
    with pytest.raises(sr.SamattrError, match=said):
        sr.attribute(sr.train(small()), "cleanlab-quality", **options)


def test_the_oracle_finds_every_wrong_label_and_needs_some():
    run = sr.train(small(noise=sr.LabelNoise(0.1)))
    found = sr.attribute(run, "label-wrong").values
    assert torch.equal(found, -run.splits.noisy.double()[:, None].repeat(1, 7))
    assert baselines.metrics.noise_auc(found[:, 0].numpy(), run.splits.noisy.numpy()) == 1
    with pytest.raises(sr.SamattrError, match="needs wrong labels that are known") as caught:
        sr.attribute(sr.train(small(noise=None)), "label-wrong")
    assert "\n" not in str(caught.value)
