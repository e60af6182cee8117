"""The precision of float32 products: as asked for, in the environment's record and the run's key."""

import os
import subprocess
import sys

import pytest
import torch

import samattr_ref as sr
from samattr_ref.support.environment import environment
from samattr_ref.support.precision import precision, use_precision
from tests.conftest import small


@pytest.fixture(autouse=True)
def restored():
    yield
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SAMATTR_PRECISION", raising=False)
        use_precision()


def ask(monkeypatch, name):
    monkeypatch.setenv("SAMATTR_PRECISION", name)
    use_precision()


def test_float32_unless_asked():
    use_precision()
    assert (precision(), torch.get_float32_matmul_precision()) == ("float32", "highest")
    assert not torch.backends.cudnn.allow_tf32
    assert environment()["precision"] == "float32"


@pytest.mark.parametrize(("name", "switch"), [("tf32", "high"), ("bf16", "medium")])
def test_what_is_asked_for_is_set_and_recorded(monkeypatch, name, switch):
    before = small().key()
    ask(monkeypatch, name)
    assert (precision(), torch.get_float32_matmul_precision()) == (name, switch)
    assert torch.backends.cudnn.allow_tf32
    assert environment()["precision"] == name
    assert small().key() != before
    ask(monkeypatch, "float32")
    assert small().key() == before


def test_an_unknown_precision_is_one_line(monkeypatch):
    ask(monkeypatch, "bf61")
    with pytest.raises(sr.SamattrError, match="unknown SAMATTR_PRECISION 'bf61': did you mean 'bf16'") as raised:
        sr.train(small())
    assert "\n" not in str(raised.value)


def test_importing_the_package_sets_it():
    code = "import torch, samattr_ref; print(torch.get_float32_matmul_precision())"
    environ = os.environ | {"SAMATTR_PRECISION": "bf16"}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environ, capture_output=True, text=True)
    assert done.stdout.strip() == "medium"
