"""Data sets, their disjoint splits, and label noise."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import samattr_ref as sr
from samattr_ref.data import Examples, LabelNoise
from tests.conftest import needs_data

SIZES = {"n_train": 50, "n_query": 10, "n_tuning": 5, "n_validation": 20}


def rows(examples):
    return {x.numpy().tobytes() for x in examples.x}


@pytest.mark.parametrize(
    ("source", "shape"),
    [
        (sr.Digits(**SIZES), (1, 8, 8)),
        pytest.param(sr.TorchvisionDigits(**SIZES), (1, 28, 28), marks=needs_data("MNIST")),
        pytest.param(
            sr.TorchvisionDigits(dataset="FashionMNIST", **SIZES), (1, 28, 28), marks=needs_data("FashionMNIST")
        ),
        pytest.param(sr.CIFAR10(**SIZES), (3, 32, 32), marks=needs_data("cifar10-jpeg.zip")),
    ],
    ids=["digits", "mnist", "fashion", "cifar10"],
)
def test_sets_are_disjoint_seeded_and_in_range(source, shape):
    splits = source.load(0)
    sets = [splits.train, splits.queries, splits.tuning, splits.validation]
    assert [len(part) for part in sets] == [50, 10, 5, 20]
    assert splits.train.x.shape[1:] == shape
    assert len(set.union(*map(rows, sets))) == 85
    for part in sets:
        assert part.x.abs().max() <= 1
        assert 0 <= part.y.min() <= part.y.max() < splits.n_classes
    again, other = source.load(0), source.load(1)
    assert torch.equal(again.train.x, splits.train.x)
    assert torch.equal(again.train.y, splits.train.y)
    assert not torch.equal(other.train.x, splits.train.x)
    assert splits.noisy.sum() == 5
    clean = replace(source, noise=None).load(0)
    assert torch.equal(clean.train.x, splits.train.x)
    assert torch.equal(clean.train.y != splits.train.y, splits.noisy)


def test_label_noise_on_chosen_points():
    labels = torch.arange(10) % 3
    noisy, mask = LabelNoise(indices=(2, 7)).apply(labels, 3, seed=0)
    assert mask.nonzero()[:, 0].tolist() == [2, 7]
    assert torch.equal(noisy != labels, mask)
    assert not LabelNoise(fraction=0.0).apply(labels, 3, seed=0)[1].any()
    assert LabelNoise(fraction=1.0).apply(labels, 3, seed=0)[1].all()


@pytest.mark.parametrize("bad", [{"fraction": 1.5}, {"fraction": -0.1}])
def test_noise_out_of_range_is_refused(bad):
    with pytest.raises(sr.SamattrError):
        LabelNoise(**bad)


def test_a_number_is_noise_of_that_fraction():
    assert sr.Digits(noise=0.25).noise == LabelNoise(0.25)


def test_noise_on_a_point_that_is_not_there_is_refused():
    with pytest.raises(sr.SamattrError, match=r"outside 0\.\.9"):
        LabelNoise(indices=(10,)).apply(torch.zeros(10, dtype=torch.int64), 3, seed=0)


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (torch.zeros(3, 2), torch.zeros(4, dtype=torch.int64), "shapes"),
        (torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), "empty"),
        (torch.zeros(3, 2), torch.zeros(3), "class indices"),
        (torch.full((3, 2), torch.inf), torch.zeros(3, dtype=torch.int64), "3 of 3"),
    ],
)
def test_bad_examples_are_refused(x, y, said):
    with pytest.raises(sr.SamattrError, match=said):
        Examples(x, y)


def test_a_missing_data_folder_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("SAMATTR_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(sr.SamattrError, match="is not a folder"):
        sr.TorchvisionDigits().load(0)
    monkeypatch.setenv("SAMATTR_DATA", str(tmp_path))
    with pytest.raises(sr.SamattrError, match="put it there, or unset SAMATTR_DATA"):
        sr.TorchvisionDigits().load(0)


def test_an_image_tree_is_read(monkeypatch, tmp_path):
    pixels = np.random.default_rng(0)
    for part, count in (("train", 4), ("test", 3)):
        for name in ("cat", "dog"):
            folder = tmp_path / "cifar10-jpeg" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(pixels.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{i}.jpg")
    monkeypatch.setenv("SAMATTR_DATA", str(tmp_path))
    source = sr.CIFAR10(n_train=8, n_query=2, n_tuning=2, n_validation=2, noise=None)
    splits = source.load(0)
    assert splits.train.x.shape == (8, 3, 32, 32)
    assert sorted(splits.train.y.tolist()) == [0] * 4 + [1] * 4
    assert splits.train.x.min() < -0.5 < 0.5 < splits.train.x.max() <= 1
    with pytest.raises(sr.SamattrError, match="fewer than the sizes"):
        replace(source, n_query=20).load(0)
