"""Attribution of networks trained with sharpness-aware minimisation: the reference implementation.

A `Workload` is trained into a `Run`; a method turns a run and queries into `Scores`.
"""

import samattr_ref.methods  # noqa: F401 — registers them
from samattr_ref.data import CIFAR10, Digits, Examples, LabelNoise, Splits, TorchvisionDigits
from samattr_ref.errors import SamattrError
from samattr_ref.models import CNN, MLP, LogisticRegression
from samattr_ref.registry import attribute, influence_score, method, methods, parameter_change
from samattr_ref.run import Run
from samattr_ref.sam import perturbation, perturbation_derivative, sam_gradient, sam_step
from samattr_ref.scores import Scores
from samattr_ref.solvers import Solution, solve
from samattr_ref.training import train
from samattr_ref.workload import SamRecipe, Workload, load_workload, workloads

__all__ = [
    "CIFAR10",
    "CNN",
    "MLP",
    "Digits",
    "Examples",
    "LabelNoise",
    "LogisticRegression",
    "Run",
    "SamRecipe",
    "SamattrError",
    "Scores",
    "Solution",
    "Splits",
    "TorchvisionDigits",
    "Workload",
    "attribute",
    "influence_score",
    "load_workload",
    "method",
    "methods",
    "parameter_change",
    "perturbation",
    "perturbation_derivative",
    "sam_gradient",
    "sam_step",
    "solve",
    "train",
    "workloads",
]
