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
        pytest.param(sr.CIFAR10(**SIZES), (3, 32, 32), marks=[pytest.mark.slow, needs_data("cifar10-jpeg.zip")]),
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
        (torch.zeros(3, 2), torch.zeros(3) - torch.inf, "3 of 3"),
        (torch.full((3, 2), torch.inf), torch.zeros(3, dtype=torch.int64), "3 of 3"),
    ],
)
def test_bad_examples_are_refused(x, y, said):
    with pytest.raises(sr.SamattrError, match=said):
        Examples(x, y)


X, Y = torch.rand(4, 3), torch.tensor([2, 0, 1, 1])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16])
def test_labels_of_every_whole_type_are_class_indices(dtype):
    examples = Examples(X, Y.to(dtype))
    assert examples.y.dtype == torch.int64
    assert torch.equal(examples.y, Y)
    two = Examples(X, Y > 0)
    assert torch.equal(two.y, torch.tensor([1, 0, 1, 1]))
    assert torch.equal(torch.eye(2)[two.y].argmax(1), two.y)  # as indices, not as a mask


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (torch.full((4,), torch.nan), "4 of 4 examples hold NaN or infinity, the first at index 0"),
        (Y.to_sparse(), "labels must be one dense tensor"),
        (Y + 0j, r"labels must be real numbers, not complex64 \[4\]"),
        (["a", "b", "c", "a"], "labels must be a tensor, an array or lists of numbers"),
        (-Y, "whole numbers >= 0"),
    ],
)
def test_labels_that_are_no_class_indices_are_one_line(y, said):
    with pytest.raises(sr.SamattrError, match=said) as caught:
        Examples(X, y)
    assert "\n" not in str(caught.value)


def test_arrays_and_lists_are_examples():
    for x, y in ((X.numpy(), Y.numpy()), (X.tolist(), Y.tolist()), (X.numpy(), Y.to(torch.uint8).numpy())):
        examples = Examples(x, y)
        assert torch.equal(examples.x, X)
        assert torch.equal(examples.y, Y)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint16])
def test_tokens_stay_whole_numbers(dtype):
    tokens = torch.tensor([[5, 0, 2], [1, 1, 6]]).to(dtype)
    examples = Examples(tokens, [0, 1]).to("cpu", torch.float64)
    assert examples.x.dtype == torch.int64
    assert torch.equal(examples.x, tokens.to(torch.int64))
    assert examples.pool().take(torch.tensor([1])).x.tolist() == [[1, 1, 6]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("pixels", [torch.uint8, torch.bool, torch.float16])
def test_pixels_take_the_dtype_of_the_network(pixels, dtype):
    examples = Examples(torch.tensor([[1, 0, 1], [0, 0, 1]]).to(pixels), [0, 1])
    assert torch.equal(examples.to("cpu", dtype).x, torch.tensor([[1, 0, 1], [0, 0, 1]], dtype=dtype))


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (X + 0j, r"inputs must be real numbers, not complex64 \[4, 3\]"),
        (X.to_sparse(), r"inputs must be one dense tensor: call to_dense\(\) on a sparse one"),
        ([[1.0, 2.0], [3.0]], "inputs must be a tensor, an array or lists of numbers"),
        (np.array([["a"], ["b"]]), "inputs must be a tensor, an array or lists of numbers"),
        (None, "inputs must be a tensor, an array or lists of numbers"),
        (X[:, 0], r"inputs \[b, ...\] and labels \[b\], not shapes \[4\] and \[4\]"),
    ],
)
def test_inputs_that_no_network_reads_are_one_line(x, said):
    with pytest.raises(sr.SamattrError, match=said) as caught:
        Examples(x, Y)
    assert "\n" not in str(caught.value)


def splits(**settings):
    """Four sets of two points of three classes each."""
    sets = {name: Examples(torch.zeros(2, 3), [0, 2]) for name in ("train", "queries", "tuning", "validation")}
    return sr.Splits(**(sets | {"noisy": torch.zeros(2, dtype=torch.bool), "n_classes": 3} | settings))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"queries": X}, "the set 'queries' must be Examples, not Tensor"),
        ({"validation": None}, "the set 'validation' must be Examples, not NoneType"),
        ({"n_classes": 1}, "n_classes must be a whole number of at least 2, not 1"),
        ({"n_classes": 3.0}, "n_classes must be a whole number of at least 2, not 3.0"),
        ({"n_classes": True}, "n_classes must be a whole number of at least 2, not True"),
        ({"n_classes": 2}, "the set 'train' has a label 2, outside the 2 classes"),
        ({"tuning": Examples(X, Y + 3)}, "the set 'tuning' has a label 5, outside the 3 classes"),
        ({"noisy": torch.zeros(3, dtype=torch.bool)}, r"a mask of the training points, bool \[2\], not bool \[3\]"),
        ({"noisy": torch.zeros(2)}, r"a mask of the training points, bool \[2\], not float32 \[2\]"),
        ({"noisy": None}, "the mask 'noisy' must be a tensor"),
        ({"clean": torch.zeros(3, dtype=torch.int64)}, r"'clean' must be the labels \[2\] .* not int64 \[3\]"),
    ],
)
def test_sets_that_do_not_go_together_are_one_line(settings, said):
    with pytest.raises(sr.SamattrError, match=said) as caught:
        splits(**settings)
    assert "\n" not in str(caught.value)


def test_sets_of_arrays_are_sets():
    assert splits(noisy=np.array([True, False]), clean=[0, 1]).clean.tolist() == [0, 1]
    assert splits(n_classes=np.int64(3)).digest == splits().digest


def test_noise_needs_a_second_class():
    with pytest.raises(sr.SamattrError, match="needs another class to draw from, and there is 1: set noise to None"):
        LabelNoise().apply(torch.zeros(10, dtype=torch.int64), 1, seed=0)
    assert not LabelNoise(indices=()).apply(torch.arange(4), 4, seed=0)[1].any()


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
