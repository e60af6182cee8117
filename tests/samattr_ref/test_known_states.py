"""Runs of which final weights or checkpoints alone are known: right for what looks at these, refused otherwise."""

import copy
import pickle
from unittest import mock

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import baselines
import samattr_ref as sr
from baselines.quality import quality
from tests.conftest import small

SETTINGS = {"rho": 0.2, "weight_decay": 0.01, "decay": "optimizer"}
FROM_THE_END = {
    "sam-hif-implicit": {"damping": 0.1},
    "sam-hif": {"damping": 0.1},
    "sam-hif-fast": {"damping": 0.1, "scale": 0.05},
    "sam-if": {"damping": 0.1},
    "if": {"damping": 0.1},
    "grad-dot": {},
    "gradient-norm": {},
    "loss": {},
    "random": {},
    "ekfac": {"damping": 0.1},
    "trak": {"projection": 4},
    "dattri-if-explicit": {"damping": 0.1},
    "dattri-if-cg": {"damping": 0.1},
    "dattri-datainf": {"damping": 0.1},
    "curvlinops-kfac": {"damping": 0.1},
    "captum-arnoldi": {"damping": 0.1},
    "representer": {},
}
FROM_STEPS = {
    "captum-tracin-cp": {},
    "captum-tracin-cp-fast": {"checkpoints": 2},
    "cleanlab-quality": {},
    "sam-unrolled": {},
    "sam-gif": {},
    "tracin": {},
    "tracin-cp": {"checkpoints": 2},
    "sam-hif-implicit": {"batches": 2, "damping": 0.1},
    "trak": {"projection": 4, "checkpoints": 2},
}


NEVER = {"label-wrong", "dattri-if-lissa"}
"""On this run whatever is known of it: no label is wrong, and the series does not converge."""


def trained(**settings):
    settings = {"n_train": 24, "hidden": (4,), "steps": 12, "batch_size": 8, "noise": None} | SETTINGS | settings
    return sr.train(small("digits-mlp", **settings))


def state_of(run, omega):
    """A module of the run's kind, and the state dict that has ω in it."""
    module = run.workload.build()[0].module
    with run.objective.network.holding(omega) as holding:
        return module, copy.deepcopy(holding.state_dict())


def known(run, *omegas, sizes=(), **settings):
    model, state = state_of(run, run.parameters)
    checkpoints = [(state_of(run, omega)[1], size) for omega, size in zip(omegas, sizes, strict=True)]
    sets = run.splits
    own = SETTINGS | {"checkpoints": checkpoints} | settings
    return sr.Run.from_state_dict(
        model, state, sets.train, sets.queries, validation=sets.validation, tuning=sets.tuning, **own
    )


def same(theirs, ours):
    return float((theirs - ours).norm()) <= 1e-9 * float(ours.norm())


def test_every_method_of_this_list_and_no_other_looks_at_the_end_alone():
    assert set(FROM_THE_END) | set(FROM_STEPS) | NEVER == set(sr.methods(optional=True))


@pytest.mark.parametrize("method", FROM_THE_END)
def test_final_weights_are_enough_for_what_looks_at_them_alone(method):
    run, options = trained(), FROM_THE_END[method]
    library = sr.methods(optional=True)[method].library
    if library and not library.installed:
        pytest.skip(f"{library.package} is not installed")
    ended = known(run)
    assert torch.equal(ended.parameters, run.parameters)
    values = [sr.attribute(each, method, run.splits.queries, **options).values for each in (ended, run)]
    assert same(*values)
    if sr.methods(optional=True)[method].change and method != "random":
        assert same(*(sr.parameter_change(each, method, [[1, 2]], **options) for each in (ended, run)))


@pytest.mark.parametrize("method", FROM_STEPS)
def test_what_follows_the_run_is_refused_by_name_in_one_line(method):
    options, ended = FROM_STEPS[method], known(trained())
    library = sr.methods(optional=True)[method].library
    if library and not library.installed:
        pytest.skip(f"{library.package} is not installed")
    with pytest.raises(
        sr.SamattrError, match=f"^{method} needs the batches and states of the run.*sr.Recorder"
    ) as said:
        sr.attribute(ended, method, **options)
    assert "\n" not in str(said.value)
    if sr.methods(optional=True)[method].change and method != "trak":
        with pytest.raises(sr.SamattrError, match=f"^{method} needs the batches and states of the run"):
            sr.parameter_change(ended, method, [[1]], **options)


def test_nothing_is_retrained_and_no_user_method_gets_a_step(fresh_store):
    ended = known(trained())
    for asked in (
        lambda: baselines.leave_one_out(ended),
        lambda: baselines.subset_retraining(ended, 0.5, 3),
        lambda: sr.train(ended.workload),
        lambda: baselines.validate("sam-if", ended.workload),
        lambda: sr.attribute(ended, "sam-if", runs=2, damping=0.1),
        lambda: sr.attribute(ended, lambda run, queries: run.batch(0)),
        lambda: sr.attribute(known(trained(), decay="loss"), "sam-hif-implicit", newton=True, damping=0.1),
        lambda: quality(ended),
    ):
        with pytest.raises(
            sr.SamattrError, match="needs the batches and states of the run, which are not known"
        ) as said:
            asked()
        assert "\n" not in str(said.value)
    assert not list(fresh_store.glob("truth/*/*.json"))


def test_checkpoints_are_full_batch_steps_to_what_works_from_checkpoints():
    """Of a run whose every step takes all points, where an equal share is what each point had."""
    run = trained(batch_size=24, steps=6, momentum=0.5)
    middles, sizes = [0, 2, 4], [float(run.step_sizes[i : i + 2].sum()) for i in (0, 2, 4)]
    ended = known(run, *run.checkpoints[middles], sizes=sizes, momentum=0.5)
    for method in ("tracin-cp", "sam-gif"):
        values = [sr.attribute(each, method, run.splits.queries, checkpoints=3).values for each in (ended, run)]
        if method == "sam-gif":  # the last steps had not moved ω_T by all that the buffer holds of them
            assert torch.nn.functional.cosine_similarity(*(v.flatten() for v in values), dim=0) > 0.99
        else:
            assert same(*values)
    plain = trained(batch_size=24, steps=6)
    ended = known(
        plain, *plain.checkpoints[middles], sizes=[float(plain.step_sizes[i : i + 2].sum()) for i in (0, 2, 4)]
    )
    for method in ("tracin-cp", "sam-gif"):
        for count in (3, 1):
            values = [
                sr.attribute(each, method, plain.splits.queries, checkpoints=count).values for each in (ended, plain)
            ]
            assert same(*values), (method, count)
    assert same(*(sr.parameter_change(each, "sam-gif", [[1, 2]], checkpoints=3) for each in (ended, plain)))
    for method, options in {"tracin": {}, "sam-gif": {}, "sam-unrolled": {"checkpoints": 3}}.items():
        with pytest.raises(sr.SamattrError, match=f"^{method} needs the batches and states"):
            sr.attribute(ended, method, **options)
    with pytest.raises(sr.SamattrError, match="checkpoints must be a whole number from 1 to"):
        sr.attribute(ended, "tracin-cp", checkpoints=4)
    assert ended.key != known(plain).key


def test_equal_shares_are_the_shares_of_whole_epochs():
    run = trained(steps=6, schedule="constant")
    assert [len(run.batch(t).unique()) for t in range(3)] == [8, 8, 8]
    ended = known(run, run.checkpoints[1], run.checkpoints[4], sizes=[float(run.step_sizes[:3].sum())] * 2)
    values = [sr.attribute(each, "tracin-cp", run.splits.queries, checkpoints=2).values for each in (ended, run)]
    assert same(*values)


def test_weights_come_from_safetensors_and_nothing_is_unpickled(tmp_path):
    run = trained()
    model, state = state_of(run, run.parameters)
    save_file(state, tmp_path / "weights.safetensors")
    before = copy.deepcopy(model.state_dict())
    with mock.patch.object(pickle, "Unpickler", side_effect=AssertionError), mock.patch.object(torch, "load") as load:
        ended = sr.from_state_dict(
            model, load_file(tmp_path / "weights.safetensors"), run.splits.train, run.splits.queries, **SETTINGS
        )
        values = sr.attribute(ended, "sam-if", damping=0.1).values
    load.assert_not_called()
    assert same(values, sr.attribute(run, "sam-if", damping=0.1).values)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


MODEL = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).eval()
STATE = MODEL.state_dict()
X, Y = torch.randn(6, 4), torch.arange(6) % 3


REFUSED = {
    "a path": ("weights.pt", {}, "must be a state dict, not str: load a file with safetensors"),
    "missing": ({k: v for k, v in STATE.items() if k != "0.bias"}, {}, "does not fit the network: it lacks '0.bias'"),
    "unknown": (STATE | {"module.0.bias": STATE["0.bias"]}, {}, "it has 'module.0.bias', which the network lacks"),
    "shape": (
        STATE | {"0.bias": torch.zeros(4)},
        {},
        r"'0.bias' of the state must be a tensor of shape \[3\], not \[4\]",
    ),
    "no tensor": (STATE | {"0.bias": [0, 0, 0]}, {}, r"must be a tensor of shape \[3\], not list"),
    "nan": (STATE | {"0.bias": torch.full((3,), torch.nan)}, {}, "'0.bias' of the state holds NaN or infinity"),
    "dtype": (STATE | {"0.bias": torch.zeros(3).double()}, {}, "is torch.float64, the network's torch.float32"),
    "rho": (STATE, {"rho": -1.0}, "rho must be a finite number >= 0"),
    "decay": (STATE, {"decay": "adamw"}, "unknown place of weight decay 'adamw'"),
    "pair": (STATE, {"checkpoints": [STATE]}, "checkpoint 0 must be a pair"),
    "size": (STATE, {"checkpoints": [(STATE, 0.0)]}, "checkpoint 0 must be a pair"),
    "checkpoint": (STATE, {"checkpoints": [(STATE, 1.0), ({}, 1.0)]}, "checkpoint 1 does not fit the network"),
    "buffer": (
        STATE,
        {"checkpoints": [(STATE | {"1.running_mean": torch.ones(3)}, 1.0)]},
        "checkpoint 0 has another buffer '1.running_mean'",
    ),
    "variant": (
        STATE,
        {"checkpoints": [(STATE, 1.0)], "variant": sr.Esam()},
        "checkpoints say nothing of esam",
    ),
    "sets": (STATE, {"validation": (torch.zeros(2, 5), torch.zeros(2).long())}, "inputs of the sets are of different"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_mistakes_are_named_in_one_line(name):
    state, settings, said = REFUSED[name]
    own = {"rho": 0.1, "weight_decay": 0.0} | settings
    with pytest.raises(sr.SamattrError, match=said) as refused:
        sr.from_state_dict(MODEL, state, (X, Y), (X, Y), **own)
    assert "\n" not in str(refused.value)


def test_a_network_that_breaks_a_rule_is_refused():
    for model, said in ((MODEL.train(), "batch norm"), (nn.Sequential(nn.Linear(4, 3), nn.Dropout()), "dropout")):
        with pytest.raises(sr.SamattrError, match=said):
            sr.from_state_dict(model, model.state_dict(), (X, Y), (X, Y), rho=0.1, weight_decay=0.0)
    MODEL.eval()
