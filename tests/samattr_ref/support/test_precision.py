"""The precision of float32 products: as asked for, in the environment's record and the run's key."""

import os
import subprocess
import sys

import pytest
import torch

import samattr_ref as sr
from samattr_ref.network.objective import Objective
from samattr_ref.network.proof import prove, prove_again
from samattr_ref.support.environment import environment
from samattr_ref.support.precision import full_precision, precision, use_precision
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


def test_ways_of_computing_are_compared_in_full_precision(monkeypatch):
    """Else a network would be refused for the rounding that was asked for."""
    ask(monkeypatch, "tf32")
    seen = set()

    class Looking(torch.nn.Linear):
        def forward(self, x):
            seen.add((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))
            return super().forward(x)

    objective = Objective(Looking(8, 3))
    x, y = torch.randn(9, 8), torch.arange(9) % 3
    prove(objective, x, y, 3, None, objective.flatten())
    prove_again(objective, x, y, None, objective.flatten())
    assert seen == {("highest", False)}
    assert (precision(), torch.backends.cudnn.allow_tf32) == ("tf32", True)
    with pytest.raises(ZeroDivisionError), full_precision():
        assert precision() == "float32"
        raise ZeroDivisionError
    assert precision() == "tf32"


def test_an_unknown_precision_is_one_line(monkeypatch):
    ask(monkeypatch, "bf61")
    with pytest.raises(sr.SamattrError, match="unknown SAMATTR_PRECISION 'bf61': did you mean 'bf16'") as raised:
        sr.train(small())
    assert "\n" not in str(raised.value)


FLAGS = """
import torch
def flags():
    return (
        torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic,
        torch.backends.mkldnn.enabled, torch.are_deterministic_algorithms_enabled(), torch.get_default_dtype(),
        torch.get_num_threads(), torch.is_grad_enabled(), torch.initial_seed(),
        torch.backends.mha.get_fastpath_enabled(),
    )
before = flags()
"""


def told(code, **environ):
    command = [sys.executable, "-W", "ignore", "-c", FLAGS + code]
    return subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.slow
def test_importing_the_packages_changes_nothing_of_torch():
    code = "import samattr_ref, baselines; print(flags() == before)"
    assert told(code, SAMATTR_PRECISION="bf16") == "True"


@pytest.mark.slow
def test_the_first_workload_sets_it_and_a_later_choice_stays():
    code = """
from samattr_ref import load_workload
load_workload("digits-mlp").key()
print(torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)
torch.set_float32_matmul_precision("high")
load_workload("digits-logreg").key()
print(torch.get_float32_matmul_precision())
"""
    assert told(code, SAMATTR_PRECISION="bf16").split() == ["medium", "True", "high"]
