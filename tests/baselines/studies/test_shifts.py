"""Validation sets after a shift."""

import numpy as np
import pytest
import torch

import samattr_ref as sr
from baselines.studies.shifts import shifted
from baselines.truth import leave_one_out
from tests.conftest import small

WORKLOAD = small(n_train=50, n_validation=40)


@pytest.fixture(scope="module")
def truth():
    return leave_one_out(sr.train(WORKLOAD))


def test_shifts(truth, tmp_path, monkeypatch):
    validation = truth.run.splits.validation
    assert set(shifted(validation, "classes", 10, 0).y.tolist()) <= set(range(5))
    negative = shifted(validation, "negative", 10, 0).x
    torch.testing.assert_close(negative, validation.x.min() + validation.x.max() - validation.x)
    assert (shifted(validation, "brightness", 10, 0).x >= validation.x).all()
    noisy = shifted(validation, "noise", 10, 0)
    assert torch.equal(noisy.x, shifted(validation, "noise", 10, 0).x)
    assert not torch.equal(noisy.x, shifted(validation, "noise", 10, 1).x)
    with pytest.raises(sr.SamattrError, match="unknown shift 'nois'"):
        shifted(validation, "nois", 10, 0)
    monkeypatch.setenv("SAMATTR_DATA", str(tmp_path))
    with pytest.raises(sr.SamattrError, match=r"CIFAR-10\.1 is not in"):
        shifted(validation, "cifar10.1", 10, 0)


def test_cifar10_1_files(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMATTR_DATA", str(tmp_path))
    folder = tmp_path / "cifar10.1"
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    np.save(folder / "cifar10.1_v6_data.npy", images)
    np.save(folder / "cifar10.1_v6_labels.npy", np.arange(6, dtype=np.int32))
    like = sr.Examples(torch.zeros(4, 3, 32, 32), torch.zeros(4, dtype=torch.int64))
    found = shifted(like, "cifar10.1", 10, 0)
    assert found.y.tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(found.x[1, 2], torch.tensor(images[1, :, :, 2] / 127.5 - 1, dtype=torch.float32))
    np.save(folder / "cifar10.1_v6_labels.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(sr.SamattrError, match="damaged"):
        shifted(like, "cifar10.1", 10, 0)
