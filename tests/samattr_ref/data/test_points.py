"""A user's own points: the same run from arrays, tensors and a dataset, and what is none is one line."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from torch.utils.data import TensorDataset

import baselines
import samattr_ref as sr

WINE = load_wine()
X, Y = (WINE.data - WINE.data.mean(0)) / WINE.data.std(0), WINE.target
SIZES = {"n_train": 60, "n_query": 20, "n_tuning": 10, "n_validation": 30}


def workload(data, **settings):
    points = sr.Points(data=data, **SIZES, **settings)
    return sr.Workload("wine", points, sr.MLP((8,)), sr.SamRecipe(steps=40, learning_rate=0.1), dtype="float64")


def test_arrays_tensors_and_a_dataset_are_the_same_points(fresh_store):
    given = (X, Y), (torch.tensor(X), torch.tensor(Y)), TensorDataset(torch.tensor(X), torch.tensor(Y))
    runs = [sr.train(workload(data)) for data in given]
    assert len({run.digest for run in runs}) == len({run.key for run in runs}) == 1
    assert runs[0].splits.n_classes == 3 and not runs[0].splits.noisy.any()
    rows = torch.cat([part.x for part in (runs[0].train, runs[0].splits.queries, runs[0].splits.validation)])
    assert len(rows.unique(dim=0)) == 60 + 20 + 30  # no set has a point of another
    other = sr.train(workload((X + 1e-3, Y)))
    assert other.key != runs[0].key


def test_methods_are_validated_on_them(fresh_store):
    found = baselines.validate("sam-unrolled", workload((X, Y), noise=0.1).override(n_removed=20))
    assert found.metrics["spearman_per_query"]["mean"] > 0.95
    assert found.metrics["noise_auc"] is not None


def test_what_is_held_out_is_drawn_from_the_test_set():
    own = sr.Points(data=(X[:80], Y[:80]), test=(X[80:], Y[80:]), **SIZES).load(0)
    assert {tuple(row) for row in own.queries.x.tolist()} <= {tuple(row) for row in X[80:].tolist()}
    assert {tuple(row) for row in own.train.x.tolist()} <= {tuple(row) for row in X[:80].tolist()}
    assert own.n_classes == 3  # the last class is in the test set alone


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (7, "data must be Examples, a pair"),
        ((X[:50], Y[:50]), "fewer than the sizes asked for"),
        ((X, Y / 2), "class indices"),
        (["no", "pairs", "here"], "cannot be read as pairs"),
        ((X, Y[:-1]), "labels"),
        ((np.where(X > 2, np.nan, X), Y), "NaN"),
    ],
)
def test_what_is_no_data_is_one_line(data, said):
    with pytest.raises(sr.SamattrError, match=said) as raised:
        sr.train(workload(data))
    assert "\n" not in str(raised.value)
