"""Sets that say nothing are refused before anything is trained; equal points here and there are none of them."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

import samattr_ref as sr

GENERATOR = torch.Generator().manual_seed(0)
X = torch.rand(60, 4, generator=GENERATOR, dtype=torch.float64)
Y = torch.arange(60) % 3
SIZES = {"n_train": 20, "n_query": 5, "n_tuning": 4, "n_validation": 6}


def examples(start, stop):
    return sr.Examples(X[start:stop], Y[start:stop])


SETS = {
    "train": examples(0, 20),
    "queries": examples(20, 25),
    "tuning": examples(25, 29),
    "validation": examples(29, 35),
    "noisy": torch.zeros(20, dtype=torch.bool),
    "n_classes": 3,
}


@dataclass(frozen=True)
class Source:
    sets: Any = field(repr=False)

    def load(self, seed):
        return sr.Splits(**self.sets)


def workload(data):
    return sr.Workload("own", data, sr.MLP((3,)), sr.SamRecipe(steps=3, batch_size=7), dtype="float64")


def refused(data, said, store):
    with pytest.raises(sr.SamattrError, match=said) as raised:
        sr.train(workload(data))
    assert "\n" not in str(raised.value)
    assert not list(store.rglob("*"))


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ({"queries": examples(0, 5)}, "5 of the 5 points of 'queries' are training points: take other rows"),
        ({"tuning": examples(17, 21)}, "3 of the 4 points of 'tuning' are training points"),
        ({"validation": examples(0, 20)}, "20 of the 20 points of 'validation' are training points"),
        ({"queries": sr.Examples(X[:5], (Y[:5] + 1) % 3)}, "5 of the 5 points of 'queries'"),  # whatever their labels
        ({"train": examples(0, 1), "noisy": torch.zeros(1, dtype=torch.bool)}, "own has a single training point"),
        ({"train": sr.Examples(X[:20], torch.full((20,), 2))}, "all 20 training points of own are of class 2"),
        ({"clean": torch.ones(20, dtype=torch.int64)}, "all 20 training points of own are of class 1"),
        ({"queries": sr.Examples(torch.rand(5, 6), Y[:5])}, r"the sets are of different shapes, \[6\] and \[4\]"),
        (
            {"validation": sr.Examples(torch.ones(6, 4, dtype=torch.int64), Y[:6])},
            r"of different kinds, int64 \[6, 4\] in 'validation' and float64 \[20, 4\] in 'train'",
        ),
    ],
)
def test_sets_that_say_nothing_are_refused(sets, said, fresh_store):
    refused(Source(SETS | sets), said, fresh_store)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"data": (X, Y), "test": (X, Y)}, "60 of the 60 points of 'test' are training points: take other rows"),
        ({"data": (X, Y), "test": (X[30:], Y[30:])}, "30 of the 30 points of 'test'"),
        ({"data": (X, Y), "test": (torch.rand(30, 7), Y[:30])}, r"different shapes, \[7\] and \[4\]"),
        ({"data": (X, torch.zeros(60))}, "class indices|all 20 training points"),
        ({"data": (X, Y * 0)}, "all 20 training points of own are of class 0"),
        ({"data": (X, Y * 0), "noise": 0.2}, "all 20 training points of own are of class 0"),
        ({"data": (X, Y), "n_train": 1}, "own has a single training point, and ranks need two"),
    ],
)
def test_points_that_say_nothing_are_refused(settings, said, fresh_store):
    refused(sr.Points(**(SIZES | settings)), said, fresh_store)


@pytest.mark.parametrize(
    "sets",
    [
        {"train": sr.Examples(torch.cat([X[:10], X[:10]]), torch.cat([Y[:10], Y[:10]]))},  # each is there twice
        {"queries": sr.Examples(torch.cat([X[:2], X[40:43]]), Y[:5])},  # two are training points
        {"train": sr.Examples(X[:20].round(), Y[:20]), "queries": sr.Examples(X[20:25].round(), Y[20:25])},
    ],
    ids=["repeated training points", "a few equal points", "columns of few values"],
)
def test_equal_points_here_and_there_are_data(sets):
    assert sr.train(workload(Source(SETS | sets))).n_train == 20


def test_training_points_may_be_asked_about_themselves():
    run = sr.train(workload(sr.Points(data=(X, Y), **SIZES)))
    assert sr.attribute(run, "grad-dot", run.train).values.shape == (20, 20)


def test_right_labels_are_one_a_training_point():
    with pytest.raises(sr.SamattrError, match=r"'clean' must be the labels \[20\] of the training points, not float32"):
        sr.Splits(**SETS, clean=torch.ones(20, 2))
