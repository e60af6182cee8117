"""Methods of other libraries: found by their names alone, without a trace, and in one line where they are missing."""

import importlib.util
import logging
import random
import sys
import tempfile

import numpy as np
import pytest
import torch

import baselines
import samattr_ref as sr
from baselines import validation
from baselines.studies.cells import _code
from baselines.studies.chosen import compared, not_of_family, options_by_method, with_option
from baselines.studies.profiles import PROFILES
from reports import cli
from reports.labels import label_of
from reports.style import style_of
from samattr_ref import registry
from tests.conftest import small

OPTIONAL = {"ekfac": "kronfluence", "trak": "trak"}
PACKAGES = {"ekfac": "kronfluence", "trak": "traker"}


@pytest.fixture(params=OPTIONAL)
def missing(request, monkeypatch):
    """A method, as if its library were not installed."""
    find = importlib.util.find_spec
    module = OPTIONAL[request.param]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == module else find(name, *rest))
    return request.param


@pytest.fixture(params=OPTIONAL)
def there(request):
    pytest.importorskip(OPTIONAL[request.param])
    return request.param


def test_they_are_in_no_table_that_does_not_name_them():
    assert set(sr.methods(optional=True)) - set(sr.methods()) == set(OPTIONAL)
    lists = [sr.methods(), compared(), not_of_family(), with_option("damping"), with_option("checkpoints")]
    lists.append([method for _, method in PROFILES["quick"].cells({})])
    assert not [names for names in lists if set(names) & set(OPTIONAL)]


def test_by_name_they_have_labels_styles_options_and_keys():
    assert [label_of(name) for name in OPTIONAL] == ["EK-FAC", "TRAK"]
    looks = {(style_of(name).colour, style_of(name).marker) for name in sr.methods(optional=True)}
    assert len(looks) == len(sr.methods(optional=True))
    assert options_by_method(OPTIONAL, {"damping": 0.1, "checkpoints": 2}) == {
        "ekfac": {"damping": 0.1},
        "trak": {"checkpoints": 2},
    }
    digests = _code(validation.validate, small(), {"methods": ["if", "trak"]})
    assert len(digests) == len(_code(validation.validate, small(), {"methods": ["if"]})) + 1


def test_a_missing_library_is_one_line_before_anything_is_trained(missing, monkeypatch, capsys):
    said = f"{missing} needs {PACKAGES[missing]}, which is missing: pip install 'samattr[peers]'"
    run = sr.train(small(n_train=20, steps=4))
    monkeypatch.setattr(validation, "train", lambda _: pytest.fail("a network was trained"))
    with pytest.raises(sr.SamattrError) as caught:
        baselines.validate(missing, small())
    assert str(caught.value) == said
    for ask in (sr.attribute, lambda *given: sr.influence_score(*given, run.splits.validation)):
        with pytest.raises(sr.SamattrError) as caught:
            ask(run, missing)
        assert str(caught.value) == said
    monkeypatch.setattr(sys, "argv", ["samattr", "validate", missing])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1 and capsys.readouterr().err == f"samattr: {said}\n"
    registry.get_method(missing)  # studies may name it wherever they are imported


def state():
    root = logging.getLogger()
    python, numpy = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    switches = torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()
    log = root.level, list(root.handlers), root.manager.disable
    return torch.get_rng_state().tolist(), numpy, python, log, switches


def test_a_call_leaves_nothing_behind_and_says_nothing(there, tmp_path, monkeypatch, capfd):
    run = sr.train(small("digits-mlp", n_train=30))
    before, kept = state(), {name: value.clone() for name, value in run.objective.module.state_dict().items()}
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    capfd.readouterr()
    sr.attribute(run, there)
    with pytest.raises(sr.SamattrError):
        sr.attribute(run, there, **{"ekfac": {"damping": -1.0}, "trak": {"projection": 10_000}}[there])
    assert tuple(capfd.readouterr()) == ("", "")
    assert state() == before
    assert [path.name for path in tmp_path.rglob("*")] == ["temporary"]
    assert all(torch.equal(kept[name], value) for name, value in run.objective.module.state_dict().items())


@pytest.mark.slow
def test_they_are_validated_as_any_other(there):
    result = baselines.validate(there, small(n_train=40, n_tuning=10))
    assert result.metrics["spearman_per_query"]["mean"] > 0
    assert result.diagnostics["tuning"]["tried"] >= 1
