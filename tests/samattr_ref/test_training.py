"""Runs: batches, schedules, storage, resumption, and what is refused."""

import itertools
import json
import math
from dataclasses import dataclass, replace

import numpy
import pytest
import torch
from torch import nn

import samattr_ref as sr
from baselines.engines import retrain
from baselines.truth import random_subsets
from samattr_ref import training
from samattr_ref.data import Examples, Splits
from samattr_ref.network.proof import prove
from samattr_ref.support import store
from samattr_ref.support.errors import UnstableError
from samattr_ref.support.timing import Timing
from tests.conftest import small


def test_every_epoch_is_a_permutation_and_short_batches_are_padded():
    batches = sr.SamRecipe(steps=9, batch_size=4).batches(10, seed=0)
    for epoch in range(3):
        rows = batches[3 * epoch : 3 * epoch + 3]
        assert sorted(rows[rows >= 0].tolist()) == list(range(10))
        assert (rows[2] >= 0).sum() == 2
    assert not torch.equal(batches[:3], batches[3:6])
    assert torch.equal(sr.SamRecipe(steps=2, batch_size=None).batches(5, 0), torch.arange(5).expand(2, 5))


def test_batches_with_replacement_are_subsets_of_their_own():
    recipe = sr.SamRecipe(steps=50, batch_size=4, sampling="replacement")
    batches = recipe.batches(10, seed=0)
    assert batches.shape == (50, 4)
    assert all(len(set(row)) == 4 for row in batches.tolist())
    counts = batches.flatten().bincount(minlength=10)
    assert counts.min() < 20 < counts.max()  # unlike an epoch, in which each point comes once
    longer = replace(recipe, steps=60)
    assert torch.equal(longer.batches(10, seed=0)[:50], batches)
    assert not torch.equal(recipe.batches(10, seed=1), batches)
    assert torch.equal(replace(recipe, batch_size=None).batches(5, 0), torch.arange(5).expand(50, 5))
    assert replace(small(), recipe=replace(small().recipe, sampling="replacement")).key() != small().key()


def test_with_replacement_a_point_that_no_batch_holds_has_no_influence():
    run = sr.train(small(sampling="replacement", steps=3))
    counts = run.batches.flatten().bincount(minlength=run.n_train)
    unseen, seen = int(counts.argmin()), int(counts.argmax())
    assert counts[unseen] == 0
    none, without_unseen, without_seen = retrain(run, [torch.tensor(group).long() for group in ([], [unseen], [seen])])
    assert torch.equal(without_unseen, none)
    assert not torch.equal(without_seen, none)


def test_schedules():
    recipe = sr.SamRecipe(steps=10, learning_rate=2.0, warmup=2)
    constant = recipe.step_sizes()
    assert constant.tolist() == [1.0] + [2.0] * 9
    cosine = replace(recipe, schedule="cosine").step_sizes()
    assert cosine[2] == 2.0
    assert cosine[6].item() == pytest.approx(1.0)
    linear = replace(recipe, schedule="linear").step_sizes()
    torch.testing.assert_close(linear[2:], 2 * (1 - torch.arange(8, dtype=torch.float64) / 8))


def test_a_run_is_found_again_and_bit_equal(fresh_store):
    first = sr.train(small())
    files = {path: path.stat().st_mtime_ns for path in fresh_store.rglob("run.*")}
    second = sr.train(small())
    assert {path: path.stat().st_mtime_ns for path in fresh_store.rglob("run.*")} == files
    for name, tensor in first.tensors().items():
        assert torch.equal(tensor, second.tensors()[name])
    assert first.key == second.key
    assert first.digest == second.digest != replace(second, parameters=second.parameters + 1e-9).digest


def test_the_key_follows_what_training_depends_on():
    base = small()
    others = [
        small(rho=0.21),
        small(p=3.0),
        small(steps=41),
        replace(base, seed=1),
        replace(base, dtype="float32"),
        small(noise=None),
        small("digits-mlp"),
    ]
    keys = {workload.key() for workload in [base, *others]}
    assert len(keys) == len(others) + 1
    assert replace(base, name="another", n_removed=5).key() == base.key()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("keep", ["all", 4])
def test_an_interrupted_run_goes_on_bit_equal(fresh_store, monkeypatch, keep, momentum):
    workload = small(momentum=momentum)
    whole = sr.train(workload, checkpoints=keep)
    for path in fresh_store.rglob("run.json"):
        store.delete(path.parent, "run")
    monkeypatch.setattr(training, "SAVE_SECONDS", 0.0)
    step, taken = training._Trainer.step, []

    def interrupted(self, t, state):
        taken.append(t)
        if len(taken) == 18:
            raise KeyboardInterrupt
        return step(self, t, state)

    monkeypatch.setattr(training._Trainer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sr.train(workload, checkpoints=keep)
    resumed = sr.train(workload, checkpoints=keep)
    assert taken == [*range(18), *range(17, 40)]  # nothing done twice but the step that was cut off
    for name, tensor in whole.tensors().items():
        assert torch.equal(tensor, resumed.tensors()[name])
    assert not list(fresh_store.rglob("partial-*"))


def test_seconds_and_load_are_of_all_attempts(fresh_store, monkeypatch):
    monkeypatch.setattr(training, "SAVE_SECONDS", 0.0)
    step, read = training._Trainer.step, [Timing(3.0, 0.0)] * 20
    monkeypatch.setattr(training.Stopwatch, "read", lambda watch: read.pop())
    monkeypatch.setattr(training._Trainer, "step", lambda self, t, state: step(self, t, state) if t < 5 else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sr.train(small(steps=6))
    monkeypatch.setattr(training._Trainer, "step", step)
    monkeypatch.setattr(training, "SAVE_SECONDS", 99.0)
    read.append(Timing(1.0, 0.8))
    run = sr.train(small(steps=6))
    assert run.timing == Timing(4.0, pytest.approx(0.2))


@pytest.mark.parametrize("file", ["run.safetensors", "run.json"])
def test_a_truncated_artefact_is_named(fresh_store, file):
    sr.train(small())
    (path,) = fresh_store.rglob(file)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(sr.SamattrError, match=r"is damaged: .*; delete the folder .* and run the command again"):
        sr.train(small())


def test_a_store_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SAMATTR_STORE", str(tmp_path / "file"))
    with pytest.raises(sr.SamattrError, match="SAMATTR_STORE"):
        sr.train(small())


def test_stored_files_are_safetensors_and_json(fresh_store):
    sr.train(small())
    endings = {path.suffix for path in fresh_store.rglob("*") if path.is_file()}
    assert endings <= {".safetensors", ".json", ".lock"}
    (described,) = fresh_store.rglob("run.json")
    assert json.loads(described.read_text())["content"]["environment"]["torch"] == torch.__version__


@dataclass(frozen=True)
class Spoiled:
    """Digits with a NaN in the training inputs."""

    def load(self, seed: int) -> Splits:
        splits = sr.Digits(n_train=20, n_query=3, n_tuning=3, n_validation=3).load(seed)
        x = splits.train.x.clone()
        x[7, 0, 2, 2] = math.nan
        return replace(splits, train=Examples(x, splits.train.y))


def test_nan_in_the_data_is_named():
    with pytest.raises(sr.SamattrError, match="1 of 20 examples hold NaN or infinity, the first at index 7"):
        sr.train(sr.Workload("spoiled", Spoiled(), sr.LogisticRegression()))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"learning_rate": 1e200}, r"step 1 of 40: lower learning_rate \(1e\+200\) or rho \(0.2\) or weight_decay"),
        ({"learning_rate": 1e10, "rho": 0.0}, r"step 1 of 40: lower learning_rate \(1e\+10\) or weight_decay"),
        ({"weight_decay": 1e10}, r"step 1 of 40: .* or weight_decay \(1e\+10\)"),
        ({"rho": 1e30}, r"step 1 of 40: lower learning_rate \(0.5\) or rho \(1e\+30\)$"),
    ],
)
@pytest.mark.parametrize("name", ["digits-logreg", "digits-mlp"])
def test_training_that_diverges_says_where_and_what_to_lower(name, settings, said, recwarn):
    workload = small(name, learning_rate=0.5, rho=0.2)
    with pytest.raises(UnstableError, match=f"training of {name} diverged at {said}") as raised:
        sr.train(workload.override(**settings))
    assert "\n" not in str(raised.value) and not recwarn.list


@pytest.mark.parametrize(("momentum", "checkpoints"), [(0.0, "all"), (0.9, 1)])
def test_the_step_is_found_from_whatever_states_were_kept(momentum, checkpoints):
    """Under a decay that turns them around, parameters grow with every step."""
    unstable = {"weight_decay": 10.0, "learning_rate": 1.0, "rho": 0.0, "schedule": "constant"}
    workload = small(**unstable, momentum=momentum, steps=350)
    with pytest.raises(UnstableError, match="diverged at step") as raised:
        sr.train(workload, checkpoints)
    assert str(raised.value) == str(_raised(lambda: sr.train(workload, 7)))
    step = int(str(raised.value).split("step ")[1].split(" of")[0])
    assert 1 < step < 10


def _raised(call):
    with pytest.raises(sr.SamattrError) as raised:
        call()
    return raised.value


class Noisy(nn.Module):
    """A linear layer with dropout inside its forward, where no layer's type tells of it."""

    def __init__(self, p):
        super().__init__()
        self.linear, self.p = nn.Linear(64, 10), p

    def forward(self, x):
        return nn.functional.dropout(self.linear(x.flatten(1)), self.p, self.training)


class Flickering(Noisy):
    """Skips its layer now and then, by a generator that is not torch's."""

    def __init__(self, p):
        super().__init__(p)
        self.calls = itertools.count()

    def forward(self, x):
        return self.linear(x.flatten(1)) * (next(self.calls) % 2)


class Centred(Noisy):
    """Subtracts the batch's mean."""

    def forward(self, x):
        z = self.linear(x.flatten(1))
        return z - z.mean(0)


@dataclass(frozen=True)
class Own:
    """A recipe of one of the modules above."""

    module: type[nn.Module]
    p: float = 0.0

    def build(self, input_shape, n_classes):
        return self.module(self.p)


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (Own(Noisy, 0.5), "the network is random"),
        (Own(Noisy, 1e-9), "the network is random"),  # as good as never
        (Own(Flickering), "a forward pass changes"),
        (Own(Centred), "the network mixes samples"),
    ],
)
def test_networks_without_a_same_run_ground_truth_are_refused(fresh_store, recipe, said):
    with pytest.raises(sr.SamattrError, match=said) as error:
        sr.train(sr.Workload("own", small().data, recipe, small().recipe))
    assert "\n" not in str(error.value)
    assert not list(fresh_store.rglob("run.json"))


@pytest.mark.parametrize(
    "recipe",
    [
        sr.LogisticRegression(),
        sr.MLP(),
        sr.CNN((3,)),
        sr.ResNet9(width=4),
        pytest.param(sr.ResNet18(), marks=pytest.mark.slow),
        Own(Noisy),
    ],
    ids=lambda recipe: type(recipe).__name__,
)
def test_the_networks_that_come_with_the_project_pass(recipe):
    workload = sr.Workload("own", small().data, recipe)
    objective, initial = workload.build()
    train = workload.splits.train
    prove(objective, train.x, train.y, 10, 20, initial)
    prove(objective, train.x[:1], train.y[:1], 10, None, initial)


@pytest.mark.parametrize("count", [0, 41, "some"])
def test_checkpoint_counts_out_of_range_are_refused(count):
    with pytest.raises(sr.SamattrError, match="checkpoints must be"):
        sr.train(small(), checkpoints=count)


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"momentum": 1.0},
        {"weight_decay": -1.0},
        {"schedule": "cosin"},
        {"sampling": "epoch"},
        {"n_train": 0},
        {"n_train": 100_000},
        {"dtype": "float16"},
        {"n_removed": 1},
        {"widht": 3},
        {"n_train": "many"},
        {"n_train": 60.5},
        {"steps": None},
        {"noise": 1.5},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(sr.SamattrError):
        sr.train(small(**settings))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"hidden": (0,)}, "hidden must be at least 1, not 0"),
        ({"hidden": (8.5,)}, r"hidden cannot be \(8.5,\): it takes whole numbers, by default"),
        ({"hidden": 8}, "hidden cannot be 8"),
        ({"n_removed": 2.5}, "n_removed cannot be 2.5: it takes a whole number or None, by default"),
        ({"training_seed": "x"}, "training_seed cannot be 'x'"),
        ({"batch_size": 2.5}, "batch_size cannot be 2.5: it takes a whole number or None"),
        ({"n_train": None}, "n_train cannot be None: it takes a whole number"),
        ({"steps": True}, "steps cannot be True"),
        ({"warmup": -1}, "warmup must be at least 0, not -1"),
        ({"warmup": 41}, "warmup is 41 and the run has 40 steps.*: set warmup to the number of steps at most"),
        ({"training_seed": -1}, "training_seed must be a whole number of at least 0, not -1"),
        ({"noise": "some"}, "noise must be a fraction, a LabelNoise or None, not 'some'"),
        ({"weight_decay": "nan"}, "weight_decay cannot be 'nan': it takes a number, by default"),
    ],
)
def test_settings_of_another_kind_are_one_line(setting, said):
    with pytest.raises(sr.SamattrError, match=said):
        small("digits-mlp", **setting)


def test_settings_that_belong_together_are_replaced_together():
    recipe = sr.load_workload("mnist-mlp-full").override(steps=20, warmup=5).recipe  # its own warm-up is longer
    assert (recipe.steps, recipe.warmup) == (20, 5)
    assert small(xi=0.5, variant="asam").recipe.variant == sr.Asam(xi=0.5)


def test_seeds_are_whole_numbers_of_any_kind_and_none_is_negative():
    known = small()
    assert replace(known, seed=numpy.int64(3)).key() == replace(known, seed=3).key()
    for ask in (
        lambda: sr.load_workload("digits-mlp", seed=-1),
        lambda: sr.LabelNoise(0.1, seed=-1),
        lambda: random_subsets(sr.train(known), 0.1, 2, seed=-1),
    ):
        with pytest.raises(sr.SamattrError, match="must be a whole number of at least 0, not -1"):
            ask()
