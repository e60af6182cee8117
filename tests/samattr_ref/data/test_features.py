"""Fine-tuning a head: on features that are computed once, and on a frozen backbone in the network, the same numbers."""

import itertools
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import samattr_ref as sr
from baselines.engines import retrain
from tests.conftest import small

RECIPE = sr.SamRecipe(steps=30, batch_size=20, learning_rate=0.3, momentum=0.5)


@dataclass(frozen=True)
class Backbone:
    """A pretrained network: its parameters do not come from the workload's seed."""

    width: int = 6

    def build(self, input_shape, n_classes):
        with torch.random.fork_rng():
            torch.manual_seed(7)
            module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(72, self.width), nn.Tanh())
        return module.requires_grad_(False)


@dataclass(frozen=True)
class Whole:
    """The backbone with a head on top of it, one network."""

    def build(self, input_shape, n_classes):
        return nn.Sequential(Backbone().build(input_shape, n_classes), nn.Linear(6, n_classes))


@pytest.fixture(scope="module")
def runs():
    digits = small().data
    whole = sr.Workload("whole", digits, Whole(), RECIPE, dtype="float64")
    head = sr.Workload("head", sr.Features(digits, Backbone()), sr.LogisticRegression(), RECIPE, dtype="float64")
    return sr.train(whole), sr.train(head)


def test_the_run_is_the_heads_alone(runs):
    whole, head = runs
    assert len(whole.parameters) == len(head.parameters) == 70
    torch.testing.assert_close(whole.parameters, head.parameters, rtol=0, atol=1e-12)
    backbone, frozen = Backbone().build((1, 8, 8), 10).double(), whole.objective.module[0]
    for own, parameter in zip(frozen.parameters(), backbone.parameters(), strict=True):
        assert torch.equal(own.cpu(), parameter)  # nothing of it moved
    assert head.objective.chain is not None


@pytest.mark.parametrize("method", ["sam-unrolled", "sam-gif", "grad-dot", "tracin-cp", "sam-hif-implicit", "if"])
def test_scores_agree(runs, method):
    options = {"damping": 0.1} if "if" in method and method != "sam-gif" else {}
    whole, head = (sr.attribute(run, method, **options).values for run in runs)
    torch.testing.assert_close(whole, head, rtol=0, atol=1e-9 * float(head.abs().max()))


def test_retrainings_agree(runs):
    groups = [torch.tensor([3]), torch.tensor([1, 40])]
    whole, head = (retrain(run, groups, engine="loop") for run in runs)
    torch.testing.assert_close(whole, head, rtol=0, atol=1e-12)


def test_settings_reach_what_is_beneath():
    workload = sr.Workload("head", sr.Features(sr.Digits(), Backbone()), sr.LogisticRegression())
    changed = workload.override(n_train=50, rho=0.3)
    assert changed.data == sr.Features(sr.Digits(n_train=50), Backbone())
    assert changed.recipe.rho == 0.3
    with pytest.raises(sr.SamattrError, match="unknown workload setting"):
        workload.override(n_trian=50)


@dataclass(frozen=True)
class Bad:
    """A backbone that is no function of the input alone."""

    how: str

    def build(self, input_shape, n_classes):
        if self.how == "dropout":
            return nn.Sequential(nn.Flatten(), nn.Dropout(0.5))
        if self.how == "draws":
            return nn.Sequential(nn.Flatten(), nn.Linear(64, next(WIDTHS)))
        return Centred()


WIDTHS = itertools.count(3)


class Centred(nn.Module):
    def forward(self, x):
        return x.flatten(1) - x.flatten(1).mean(0)


@pytest.mark.parametrize(
    ("how", "said"),
    [("dropout", "is dropout"), ("draws", "another network the second time"), ("mixes", "mixes samples")],
)
def test_what_is_no_backbone_is_refused(how, said):
    with pytest.raises(sr.SamattrError, match=said):
        sr.train(sr.Workload("bad", sr.Features(small().data, Bad(how)), sr.LogisticRegression(), RECIPE))
