"""Where tensors live is what was asked for, or refused in one line."""

import pytest
import torch

import samattr_ref as sr
from samattr_ref.support.device import device
from samattr_ref.support.environment import environment
from tests.conftest import small


def test_the_device_is_the_one_that_is_there_unless_asked(monkeypatch):
    monkeypatch.delenv("SAMATTR_DEVICE", raising=False)
    assert device() == ("cuda" if torch.cuda.is_available() else "cpu")
    monkeypatch.setenv("SAMATTR_DEVICE", "cpu")
    assert device() == "cpu"
    assert environment()["gpu"] is None


@pytest.mark.parametrize(
    ("asked", "said"),
    [("cuda", "torch finds no CUDA device: unset it"), ("gpu", "unknown SAMATTR_DEVICE 'gpu'.*known: cpu, cuda")],
)
def test_a_device_that_is_not_there_is_refused_in_one_line(monkeypatch, asked, said):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("SAMATTR_DEVICE", asked)
    with pytest.raises(sr.SamattrError, match=said):
        sr.train(small())
