"""What a constructor is given: settings that there are, of their kinds, or one line that says what is wrong."""

import inspect
import math
import pickle
from dataclasses import dataclass, fields, is_dataclass, replace

import pytest
import torch
from torch import nn

import samattr_ref as sr
from samattr_ref.implicit.options import ImplicitOptions
from samattr_ref.methods.sam_hif_fast import FastOptions
from samattr_ref.methods.sam_hif_implicit import NewtonOptions
from samattr_ref.sam.variants import VARIANTS
from samattr_ref.support.options import UNSUPPORTED, checked

SETTINGS = [
    *[sr.SamRecipe, sr.LabelNoise, sr.LogisticRegression, sr.MLP, sr.CNN, sr.ResNet9, sr.ResNet18, *VARIANTS.values()],
    *[sr.Sizes, sr.Digits, sr.TorchvisionDigits, sr.CIFAR10, sr.CIFAR100, sr.CIFAR10N, sr.MiniImageNet],
    *[sr.BreastCancer, sr.Docstrings, sr.TextFolder, ImplicitOptions, FastOptions, NewtonOptions],
]


def said(call):
    with pytest.raises(sr.SamattrError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("cls", SETTINGS)
def test_a_setting_that_there_is_not_is_named_with_those_that_there_are(cls):
    assert is_dataclass(cls)
    line = said(lambda: cls(nothing_like_it=1))
    assert line.startswith(f"unknown setting of {cls.__name__} 'nothing_like_it': ")
    for field in fields(cls):
        assert field.name in line
        assert f"did you mean '{field.name}'?" in said(lambda name=field.name: cls(**{f"{name}_": 1}))
    assert "too many positional arguments" in said(lambda: cls(*range(20)))


@pytest.mark.parametrize("cls", SETTINGS)
def test_every_setting_refuses_another_kind_of_value(cls):
    for field in fields(cls):
        line = said(lambda name=field.name: cls(**{name: object()}))
        assert field.name in line
        assert "it takes" in line or "must be" in line or "leave noise at None" in line


@pytest.mark.parametrize("cls", SETTINGS)
def test_the_constructor_stays_the_same_in_everything_else(cls):
    made = cls()
    assert list(inspect.signature(cls).parameters) == [field.name for field in fields(cls)]
    assert replace(made) == made == pickle.loads(pickle.dumps(made))
    assert hash(replace(made)) == hash(made)
    assert repr(made).startswith(f"{cls.__name__}(")


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"learning_rat": 0.1},
            "unknown setting of SamRecipe 'learning_rat': did you mean 'learning_rate'? known: batch",
        ),
        ({"steps": "many"}, "steps cannot be 'many': it takes a whole number, by default 400"),
        ({"steps": 2.5}, "steps cannot be 2.5: it takes a whole number, by default 400"),
        ({"steps": True}, "steps cannot be True: it takes a whole number, by default 400"),
        ({"rho": torch.zeros(90, 90)}, "rho cannot be tensor([[0., "),
        ({"learning_rate": math.nan}, "learning_rate must be > 0"),
        ({"learning_rate": math.inf}, "learning_rate must be > 0"),
        ({"momentum": math.nan}, "learning_rate must be > 0, momentum in [0, 1)"),
        ({"weight_decay": math.nan}, "learning_rate must be > 0, momentum in [0, 1) and weight_decay >= 0"),
        ({"weight_decay": math.inf}, "learning_rate must be > 0, momentum in [0, 1) and weight_decay >= 0"),
        (
            {"optimizer": "adam"},
            "there is no setting of SamRecipe 'optimizer': the base optimiser is SGD with momentum",
        ),
        ({"betas": (0.9, 0.99)}, "there is no setting of SamRecipe 'betas': the base optimiser is SGD with momentum"),
        ({"nesterov": True}, "there is no setting of SamRecipe 'nesterov': the base optimiser is SGD with momentum, v"),
        (
            {"dampening": 0.1},
            "there is no setting of SamRecipe 'dampening': the base optimiser is SGD with momentum, v",
        ),
        ({"max_grad_norm": 1.0}, "there is no setting of SamRecipe 'max_grad_norm': gradients are not clipped"),
        (
            {"transform": None},
            "there is no setting of SamRecipe 'transform': augmentation must be a function of seed and step",
        ),
        ({"label_smoothing": 0.1}, "there is no setting of SamRecipe 'label_smoothing': the loss is the workload's"),
        ({"ema": 0.999}, "there is no setting of SamRecipe 'ema': what is attributed is the last state of the run"),
    ],
)
def test_a_recipe_says_what_override_says(settings, line):
    assert said(lambda: sr.SamRecipe(**settings)).startswith(line)
    overridden = said(lambda: sr.load_workload("digits-mlp").override(**settings))
    assert overridden.replace("workload setting", "setting of SamRecipe").startswith(
        line.partition("by default")[0][:60]
    )


def test_what_is_not_supported_is_no_setting_of_anything():
    for cls in SETTINGS:
        assert not UNSUPPORTED.keys() & {field.name for field in fields(cls)}
    assert "did you mean 'damping'?" in said(lambda: ImplicitOptions(dampening=0.1))


class Linear(nn.Module):
    def forward(self, x):
        return x


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        (
            {"model": Linear()},
            "model must have a method build(input_shape, n_classes), such as sr.MLP(); a module itself",
        ),
        ({"model": sr.MLP}, "model must be an instance, not the class MLP: give MLP(...)"),
        ({"model": Linear}, "model must be an instance, not the class Linear: give Linear(...)"),
        ({"model": "mlp"}, "model must have a method build(input_shape, n_classes), such as sr.MLP(); str has none"),
        ({"data": sr.Digits}, "data must be an instance, not the class Digits: give Digits(...)"),
        (
            {"data": torch.zeros(9, 9)},
            "data must have a method load(seed) that returns sr.Splits, such as sr.Digits(); ",
        ),
        ({"recipe": {"rho": 0.1}}, "recipe must be a SamRecipe, such as sr.SamRecipe(), not dict"),
        ({"recipe": sr.SamRecipe}, "recipe must be a SamRecipe, such as sr.SamRecipe(), not type"),
        ({"name": 3}, "name cannot be 3: it takes a text"),
        ({"seed": "a"}, "seed cannot be 'a': it takes a whole number, by default 0"),
        ({"seed": 0.5}, "seed cannot be 0.5: it takes a whole number, by default 0"),
        ({"training_seed": "a"}, "training_seed cannot be 'a': it takes a whole number or None, by default None"),
        ({"n_remove": 3}, "unknown setting of Workload 'n_remove': did you mean 'n_removed'?"),
    ],
)
def test_a_workload_is_held_to_its_parts(parts, line):
    given = {"name": "own", "data": sr.Digits(), "model": sr.MLP()}
    assert said(lambda: sr.Workload(**(given | parts))).startswith(line)


def test_a_workload_needs_its_parts():
    assert (
        said(lambda: sr.Workload("own", sr.Digits())) == "Workload cannot be made: missing a required argument: 'model'"
    )


def test_a_class_of_a_users_own_can_be_checked():
    @checked
    @dataclass(frozen=True)
    class Own:
        width: int
        names: "tuple[str, ...]" = ()

    assert Own(3, names=("a",)) == replace(Own(2, ("a",)), width=3)
    assert said(lambda: Own(2.5)) == "width cannot be 2.5: it takes a whole number"
    assert said(lambda: Own(widht=3)) == "unknown setting of Own 'widht': did you mean 'width'? known: names, width"
