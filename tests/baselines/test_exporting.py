"""What is exported is the run: a plain network reads its parameters, and a plain loop takes its steps again."""

import errno
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import cross_entropy

import baselines
import samattr_ref as sr
from baselines import exporting
from baselines.exporting import check_export_folder, export
from tests.conftest import small, small_cnn

PLAIN = {
    "logreg": (lambda: small(), lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10))),
    "mlp": (
        lambda: small("digits-mlp", hidden=(6,), steps=15),
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.Tanh(), nn.Linear(6, 10)),
    ),
    "cnn": (
        small_cnn,
        lambda: nn.Sequential(
            *(nn.Conv2d(1, 3, 3, padding=1), nn.GELU(), nn.AvgPool2d(2)),
            *(nn.Conv2d(3, 4, 3, padding=1), nn.GELU(), nn.AvgPool2d(2)),
            *(nn.Flatten(), nn.Linear(16, 10)),
        ),
    ),
}


def read(folder):
    """An export as another program reads it: strict JSON, and tensors by file and name."""
    described = json.loads((folder / "run.json").read_text(), parse_constant=lambda text: pytest.fail(text))
    return described, {name: load_file(folder / f"{name}.safetensors") for name in NAMES}


NAMES = ("train", "queries", "tuning", "validation", "initial", "final", "steps")


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_network_reads_the_parameters_and_has_the_losses_of_the_run(name, tmp_path):
    workload, build = PLAIN[name]
    run = sr.train(workload())
    assert export(run, tmp_path / "out") == tmp_path / "out" / "run.json"
    described, files = read(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"run.json", *described["files"]}
    module = build().to(getattr(torch, described["dtype"]))
    module.load_state_dict(files["final"])
    losses = cross_entropy(module(files["queries"]["x"]), files["queries"]["y"], reduction="none").detach()
    torch.testing.assert_close(losses, run.query_losses(run.splits.queries).cpu(), rtol=1e-10, atol=1e-12)
    module.load_state_dict(files["initial"])
    initial = torch.cat([parameter.detach().flatten() for parameter in module.parameters()])
    assert initial.equal(run.workload.build()[1].cpu()) and described["n_parameters"] == len(initial)


class Odd(nn.Module):
    """A tied weight, a frozen layer, buffers, and what a state dict may hold beside tensors."""

    def __init__(self, extra):
        super().__init__()
        self.norm = nn.BatchNorm1d(64)
        self.frozen = nn.Linear(64, 5).requires_grad_(False)
        self.first, self.second, self.out = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 10)
        self.second.weight = self.first.weight
        self.norm.running_mean += torch.rand(64)
        self.extra = extra
        self.eval()

    def forward(self, x):
        return self.out(torch.tanh(self.second(torch.tanh(self.first(self.frozen(self.norm(x.flatten(1))))))))


class Extra(Odd):
    def get_extra_state(self):
        return {"said": self.extra}

    def set_extra_state(self, state):
        pass


@dataclass(frozen=True)
class OddRecipe:
    kind: type = Odd

    def build(self, input_shape, n_classes):
        return self.kind("what no file holds")


def test_buffers_frozen_and_tied_parameters_are_in_it(tmp_path):
    run = sr.train(replace(small(steps=10), model=OddRecipe()))
    export(run, tmp_path / "out")
    described, files = read(tmp_path / "out")
    torch.manual_seed(7)
    module = Odd(None).double()
    assert set(files["final"]) == set(module.state_dict()) > set(described["trained"])
    assert described["mode"] == "eval" and "frozen.weight" not in described["trained"]
    module.load_state_dict(files["final"])
    losses = cross_entropy(module(files["queries"]["x"]), files["queries"]["y"], reduction="none").detach()
    torch.testing.assert_close(losses, run.query_losses(run.splits.queries).cpu(), rtol=1e-10, atol=1e-12)


def test_a_state_that_is_no_tensor_is_one_line(tmp_path):
    run = sr.train(replace(small(steps=5), model=OddRecipe(Extra)))
    with pytest.raises(sr.SamattrError, match=r"the network's state '_extra_state' is a dict, no tensor"):
        export(run, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def replayed(described, files, module):
    """The last parameters of a SAM run by loops, as its words say, from the files alone."""
    recipe, steps, train = described["recipe"], files["steps"], files["train"]
    rho, p = recipe["rho"], float(recipe["p"])
    module.load_state_dict(files["initial"])
    parameters = list(module.parameters())
    velocity = [torch.zeros_like(parameter) for parameter in parameters]

    def gradient(points):
        loss = cross_entropy(module(train["x"][points]), train["y"][points])
        loss = loss + recipe["weight_decay"] / 2 * sum((parameter**2).sum() for parameter in parameters)
        return torch.autograd.grad(loss, parameters)

    def direction(g):
        flat = torch.cat([part.flatten() for part in g])
        if p == 1:
            top = (flat.abs() == flat.abs().max()).double()
            e = flat.sign() * top / top.sum()
        elif math.isinf(p):
            e = flat.sign()
        else:
            q = p / (p - 1)
            e = flat.sign() * flat.abs() ** (q - 1) / (flat.abs() ** q).sum() ** (1 / p)
        return [part.view_as(parameter) for part, parameter in zip(e.split([w.numel() for w in g]), g, strict=True)]

    for row, eta in zip(steps["batches"], steps["step_sizes"], strict=True):
        points = row[row >= 0]
        at = [parameter.detach().clone() for parameter in parameters]
        g = gradient(points)
        with torch.no_grad():
            for parameter, e in zip(parameters, direction(g), strict=True):
                parameter += rho * e
        g = gradient(points)
        for parameter, start, v, G in zip(parameters, at, velocity, g, strict=True):
            v.mul_(recipe["momentum"]).add_(G)
            parameter.data.copy_(start - eta * v)
    return module.state_dict()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"rho": 0.0, "momentum": 0.5},
        {"momentum": 0.9, "n_train": 50, "learning_rate": 0.05},
        {"p": math.inf, "rho": 0.01, "batch_size": None},
        {"p": 3.0, "sampling": "replacement"},
        {"p": 1.0, "weight_decay": 0.0, "warmup": 5},
    ],
    ids=str,
)
def test_a_plain_loop_over_the_exported_batches_ends_at_the_final_parameters(settings, tmp_path):
    workload = small("digits-mlp", **{"hidden": (6,), "steps": 15, "rho": 0.2, "schedule": "cosine"} | settings)
    export(sr.train(workload), tmp_path / "out")
    described, files = read(tmp_path / "out")
    assert described["not_in_this_folder"] == []
    for name, found in replayed(described, files, PLAIN["mlp"][1]().double()).items():
        torch.testing.assert_close(found, files["final"][name], rtol=1e-9, atol=1e-11)
    assert (files["steps"]["batches"] == -1).any() == (settings.get("n_train") == 50)


def test_what_is_said_of_it(tmp_path):
    run = sr.train(small(noise=sr.LabelNoise(0.2), momentum=0.5, p=math.inf))
    export(run, tmp_path / "out")
    described, files = read(tmp_path / "out")
    assert (described["run"], described["workload"], described["dtype"]) == (run.digest, "digits-logreg", "float64")
    assert (described["n_train"], described["n_query"], described["n_steps"]) == (60, 7, 40)
    assert described["recipe"].items() >= {"rho": 0.2, "p": "inf", "momentum": 0.5, "weight_decay": 0.01}.items()
    assert described["recipe"]["variant"] == "sam" and "e = rho sign(g)" in " ".join(described["step"])
    assert described["scores"]["layouts"] == {"train-query": [60, 7], "query-train": [7, 60]}
    assert described["files"]["steps.safetensors"] == {"batches": "int64 [40, 20]", "step_sizes": "float64 [40]"}
    assert described["environment"]["torch"] == torch.__version__
    assert files["train"]["y"].equal(run.train.y.cpu()) and not files["train"]["y"].equal(run.splits.clean)
    for name in ("queries", "tuning", "validation"):
        assert files[name]["x"].equal(getattr(run.splits, name).x.cpu())


@pytest.mark.parametrize(
    ("settings", "view", "missing"),
    [
        ({}, sr.FlipAndShift(shift=1), ["FlipAndShift(flip=True, shift=1)"]),
        ({"variant": "esam"}, None, ["the variant esam draws"]),
        ({"variant": "esam", "rho": 0.0}, None, []),
        ({"variant": "asam"}, None, []),
    ],
    ids=str,
)
def test_what_a_step_saw_and_no_file_holds_is_named(settings, view, missing, tmp_path):
    export(sr.train(replace(small_cnn(steps=3).override(**settings), augmentation=view)), tmp_path / "out")
    described, _ = read(tmp_path / "out")
    assert len(described["not_in_this_folder"]) == len(missing)
    assert all(name in said for name, said in zip(missing, described["not_in_this_folder"], strict=True))
    assert described["augmentation"] == (None if view is None else repr(view))
    assert ("ê = ρ T² g/‖T g‖" in " ".join(described["step"])) == (settings.get("variant") == "asam")


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("before", [True, False])
def test_an_export_is_whole_or_not_there(error, before, tmp_path, monkeypatch):
    out = tmp_path / "out"
    if before:
        export(sr.train(replace(small(), seed=1)), out)
    kept = {path.name: path.read_bytes() for path in out.glob("*")}
    write = exporting._write

    def full(path, data):
        if path.name == "final.safetensors":
            raise error
        write(path, data)

    monkeypatch.setattr(exporting, "_write", full)
    raised = sr.SamattrError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(raised) as said:
        export(sr.train(small()), out)
    if isinstance(error, OSError):
        assert (
            str(said.value) == f"{out} could not be written (No space left on device): choose another folder with --out"
        )
    assert {path.name: path.read_bytes() for path in out.glob("*")} == kept
    assert [path.name for path in tmp_path.iterdir()] == (["out"] if before else [])


def test_an_earlier_export_is_put_back_where_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    out, rename = tmp_path / "out", Path.rename
    export(sr.train(replace(small(), seed=1)), out)
    kept = (out / "run.json").read_bytes()

    def refused(path, target):
        if path.name == "made":
            raise OSError(errno.EBUSY, "Device or resource busy")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(sr.SamattrError, match="Device or resource busy"):
        export(sr.train(small()), out)
    assert (out / "run.json").read_bytes() == kept and [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_earlier_export_or_an_empty_folder_is_replaced(tmp_path):
    out = tmp_path / "deep" / "out"
    for seed in (0, 1):
        baselines.export(sr.train(replace(small(), seed=seed)), out)
        assert read(out)[0]["seed"] == seed
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    export(sr.train(small()), tmp_path / "link")
    assert read(tmp_path / "empty")[0]["seed"] == 0 and (tmp_path / "link").is_symlink()


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (lambda path: (path / "out").mkdir() or (path / "out" / "thesis.txt").touch(), "holds other things than an"),
        (
            lambda path: export(sr.train(small()), path / "out") and (path / "out" / "s.npy").touch(),
            "holds other things",
        ),
        (
            lambda path: (path / "out").mkdir() or (path / "out" / "run.json").write_text("[]"),
            "holds other things than",
        ),
        (lambda path: (path / "out").touch(), r"could not be written \(Not a directory\)"),
        (lambda path: (path / "out").symlink_to("/dev/null/x"), r"could not be written \(Not a directory\)"),
    ],
)
def test_a_folder_that_holds_other_things_is_one_line(place, said, tmp_path):
    place(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for refuse in (lambda: check_export_folder(tmp_path / "out"), lambda: export(sr.train(small()), tmp_path / "out")):
        with pytest.raises(sr.SamattrError, match=said) as raised:
            refuse()
        assert "\n" not in str(raised.value) and "--out" in str(raised.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_working_directory_is_not_taken_away(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(sr.SamattrError, match="is the working directory, or around it"):
        check_export_folder(".")
