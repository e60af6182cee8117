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

OPTIONAL = {name: method for name, method in sr.methods(optional=True).items() if method.optional}
BY_LIBRARY = [name for name, method in OPTIONAL.items() if method.library]
REFUSED = {
    "ekfac": {"damping": -1.0},
    "trak": {"projection": 10_000},
    "captum-tracin-cp": {"checkpoints": 1000},
    "captum-tracin-cp-fast": {"checkpoints": 1000},
    "captum-arnoldi": {"damping": -1.0},
    "dattri-if-explicit": {"damping": -1.0},
    "dattri-if-cg": {"damping": 0.1, "max_iterations": 1},
    "dattri-if-lissa": {"damping": -1.0},
    "dattri-datainf": {"damping": -1.0},
    "curvlinops-kfac": {"damping": -1.0},
}
"""Options that each refuses."""
CHEAP = {"captum-arnoldi": {"dimensions": 5, "iterations": 8}, "dattri-if-cg": {"damping": 0.5}}
"""Options with which those that need some give an answer soon."""
CHEAP |= {"dattri-if-lissa": {"damping": 0.5, "depth": 20, "scale": 30.0}, "cleanlab-quality": {"folds": 0}}


@pytest.fixture(params=BY_LIBRARY)
def missing(request, monkeypatch):
    """A method, as if its library were not installed."""
    find = importlib.util.find_spec
    module = OPTIONAL[request.param].library.module
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == module else find(name, *rest))
    return request.param


@pytest.fixture(params=OPTIONAL)
def there(request):
    if library := OPTIONAL[request.param].library:
        pytest.importorskip(library.module, reason=f"{library.package} is not installed: {library.install}")
    return request.param


def test_they_are_in_no_table_that_does_not_name_them():
    assert set(sr.methods(optional=True)) - set(sr.methods()) == set(OPTIONAL)
    assert set(REFUSED) == set(BY_LIBRARY)
    lists = [sr.methods(), compared(), not_of_family(), with_option("damping"), with_option("checkpoints")]
    lists.append([method for _, method in PROFILES["quick"].cells({})])
    assert not [names for names in lists if set(names) & set(OPTIONAL)]


def test_by_name_they_have_labels_styles_options_and_keys():
    assert [label_of(name) for name in ("ekfac", "trak")] == ["EK-FAC", "TRAK"]
    assert len({label_of(name) for name in sr.methods(optional=True)}) == len(sr.methods(optional=True))
    looks = {(style_of(name).colour, style_of(name).marker) for name in sr.methods(optional=True)}
    assert len(looks) == len(sr.methods(optional=True))
    assert options_by_method(["ekfac", "trak"], {"damping": 0.1, "checkpoints": 2}) == {
        "ekfac": {"damping": 0.1},
        "trak": {"checkpoints": 2},
    }
    digests = _code(validation.validate, small(), {"methods": ["if", "trak"]})
    assert len(digests) == len(_code(validation.validate, small(), {"methods": ["if"]})) + 1


def test_a_missing_library_is_one_line_before_anything_is_trained(missing, monkeypatch, capsys):
    said = f"{missing} needs {OPTIONAL[missing].library.package}, which is missing: pip install 'samattr[peers]'"
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
    sr.attribute(run, there, **CHEAP.get(there, {}))
    if there in REFUSED:
        with pytest.raises(sr.SamattrError):
            sr.attribute(run, there, **REFUSED[there])
    assert tuple(capfd.readouterr()) == ("", "")
    assert state() == before
    assert [path.name for path in tmp_path.rglob("*")] == ["temporary"]
    assert all(torch.equal(kept[name], value) for name, value in run.objective.module.state_dict().items())


def close(found, expected, name):
    tolerance = 1e-5 if name == "dattri-if-cg" else 1e-8  # its steps go by the queries that are solved together
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * float(expected.abs().max()))


@pytest.fixture(scope="module")
def run():
    return sr.train(small("digits-mlp", n_train=30, hidden=(6,), weight_decay=0.01))


BOUNDS = {"dattri-if-explicit": 2**27, "dattri-if-cg": 2**20, "dattri-if-lissa": 2**20, "cleanlab-quality": 2**22}
"""Bytes that cut their work into parts, where half a MiB is not enough for one query: all points go with it."""
BATCHED = sorted(set(OPTIONAL) - {"trak"})
"""All but what is float32 at best: `test_trak.py` has its own."""


@pytest.mark.parametrize("name", BATCHED)
def test_the_mean_query_and_parts_that_fit_in_memory(name, run):
    if library := OPTIONAL[name].library:
        pytest.importorskip(library.module, reason=f"{library.package} is not installed: {library.install}")
    options, queries = CHEAP.get(name, {}), run.workload.queries
    if name == "dattri-if-lissa":
        options = options | {"batch": 30}  # what is drawn depends on who is scored together
    whole = sr.attribute(run, name, **options).values
    assert torch.equal(whole, sr.attribute(run.fresh(), name, **options).values)
    close(sr.attribute(run, name, queries.pool(), **options).values, whole.mean(1, keepdim=True), name)
    close(sr.attribute(run, name, queries.take(torch.tensor([2, 0])), **options).values, whole[:, [2, 0]], name)
    bound = BOUNDS.get(name, 2**19)
    close(sr.attribute(run.fresh(), name, memory_bytes=bound, **options).values, whole, name)


@pytest.mark.slow
def test_they_are_validated_as_any_other(there):
    small_noisy = small(n_train=40, n_tuning=10, noise=sr.LabelNoise(0.1))
    result = baselines.validate(there, small_noisy, options=CHEAP.get(there))
    if OPTIONAL[there].family is not sr.Family.CONTROL:
        assert result.metrics["spearman_per_query"]["mean"] > 0
    assert not OPTIONAL[there].tune or there in CHEAP or result.diagnostics["tuning"]["tried"] >= 1
