"""Attribution of networks trained with sharpness-aware minimisation: the reference implementation.

A `Workload` is trained into a `Run`; a method turns a run and queries into `Scores`.
"""

import samattr_ref.methods  # noqa: F401 — registers them
from samattr_ref.attribution import attribute, influence_score, parameter_change
from samattr_ref.catalogue import load_workload, register_workload, workloads
from samattr_ref.data import (
    CIFAR10,
    CIFAR10N,
    CIFAR100,
    Augmentation,
    BreastCancer,
    DataSource,
    Digits,
    Docstrings,
    Examples,
    Features,
    FlipAndShift,
    LabelNoise,
    MiniImageNet,
    Points,
    Sizes,
    Splits,
    TextFolder,
    TorchvisionDigits,
    data_folder,
    make_splits,
)
from samattr_ref.growth import Growth, Way
from samattr_ref.known_states import from_state_dict
from samattr_ref.marks import marks_of
from samattr_ref.network.losses import BinaryCrossEntropy, CrossEntropy, Loss, NextToken, SquaredError
from samattr_ref.network.models import CNN, MLP, LogisticRegression, ResNet9, ResNet18, group_norm
from samattr_ref.recipe import SamRecipe
from samattr_ref.recorder import Recorder
from samattr_ref.registry import Family, Library, method, methods
from samattr_ref.run import Run
from samattr_ref.sam.perturbation import perturbation, perturbation_derivative
from samattr_ref.sam.step import sam_step
from samattr_ref.sam.variants import Asam, Esam, FisherSam, FriendlySam, Gsam, Sam, variant
from samattr_ref.scores import Scores
from samattr_ref.solvers.solution import Solution
from samattr_ref.solvers.solve import solve
from samattr_ref.support.errors import SamattrError
from samattr_ref.training import train
from samattr_ref.workload import Workload

__all__ = [
    "CIFAR10",
    "CIFAR10N",
    "CIFAR100",
    "CNN",
    "MLP",
    "Asam",
    "Augmentation",
    "BinaryCrossEntropy",
    "BreastCancer",
    "CrossEntropy",
    "DataSource",
    "Digits",
    "Docstrings",
    "Esam",
    "Examples",
    "Family",
    "Features",
    "FisherSam",
    "FlipAndShift",
    "FriendlySam",
    "Growth",
    "Gsam",
    "LabelNoise",
    "Library",
    "LogisticRegression",
    "Loss",
    "MiniImageNet",
    "NextToken",
    "Points",
    "Recorder",
    "ResNet9",
    "ResNet18",
    "Run",
    "Sam",
    "SamRecipe",
    "SamattrError",
    "Scores",
    "Sizes",
    "Solution",
    "Splits",
    "SquaredError",
    "TextFolder",
    "TorchvisionDigits",
    "Way",
    "Workload",
    "attribute",
    "data_folder",
    "from_state_dict",
    "group_norm",
    "influence_score",
    "load_workload",
    "make_splits",
    "marks_of",
    "method",
    "methods",
    "parameter_change",
    "perturbation",
    "perturbation_derivative",
    "register_workload",
    "sam_step",
    "solve",
    "train",
    "variant",
    "workloads",
]
