"""A new method's files: they work as they stand, and nothing that is there is replaced."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import baselines
import samattr_ref as sr
from baselines import tiny
from reports.scaffold import new_method
from samattr_ref.registry import get_method

ROOT = Path(__file__).parents[2]


def test_the_method_is_gradient_dot_products_and_keeps_the_contract(tmp_path, registering):
    written = new_method("my-own", tmp_path / "made")
    assert written.method == tmp_path / "made" / "my_own.py"
    assert written.command == f"samattr check {written.method}:my_own"
    name = f"{written.method}:my_own"
    method, run = get_method(name), sr.train(tiny.BATCHED)
    assert (method.name, method.label, method.linear) == ("my-own", "My own", True)
    dots = sr.attribute(run, "grad-dot").values
    lengths = run.objective.sample_gradients(run.parameters, run.train.x, run.train.y).norm(dim=1, keepdim=True)
    for options, expected in (({}, dots), ({"unit_length": True}, dots / lengths)):
        torch.testing.assert_close(sr.attribute(run, method.function, **options).values, expected)
        assert all(found.passed is not False for found in baselines.check(name, options))
    with pytest.raises(sr.SamattrError, match="did you mean 'unit_length'"):
        sr.attribute(run, method.function, unit_lenght=True)


@pytest.mark.slow
def test_the_test_passes_and_fails_with_the_method(tmp_path):
    written = new_method("my-own", tmp_path)

    def tested():
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", written.test.name]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    assert tested().returncode == 0
    text = written.method.read_text()
    written.method.write_text(text.replace("return train @", "return -train @"))
    done = tested()
    assert done.returncode == 1
    assert "sign            failed: scores look negated" in done.stdout


@pytest.mark.parametrize("there", ["mine.py", "test_mine.py"])
def test_what_is_there_is_not_replaced(tmp_path, there):
    (tmp_path / there).write_text("precious")
    with pytest.raises(sr.SamattrError, match=f"{there} is there already, and is not replaced"):
        new_method("mine", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "precious"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("two words", "cannot be a method's name"),
        ("2nd", "cannot be a method's name"),
        ("lambda", "cannot be a method's name"),
        ("../mine", "cannot be a method's name"),
        ("", "cannot be a method's name"),
        ("tracin", "there is a method 'tracin' already"),
        ("ekfac", "there is a method 'ekfac' already"),
        ("torch", "'torch' is the name of a Python module"),
        ("json", "'json' is the name of a Python module"),
    ],
)
def test_names_that_cannot_be_are_refused(tmp_path, name, said):
    with pytest.raises(sr.SamattrError, match=said):
        new_method(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(sr.SamattrError, match=r"file could not be written \(File exists\): choose another folder"):
        new_method("mine", tmp_path / "file")
