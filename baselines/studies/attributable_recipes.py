"""Accuracy against attributability: which part of a recipe makes a run one that its derivative follows.

A run is held against its own retraining without random subsets of a twentieth of the points, which is far enough for a
chaotic run to end elsewhere.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from baselines.diverged import whole
from baselines.metrics import spearman_per_query
from baselines.studies.cases import Case
from baselines.truth import retraining_truth
from samattr_ref.attribution import parameter_change
from samattr_ref.support.seeds import stream
from samattr_ref.training import train
from samattr_ref.workload import Workload

FRACTION, SUBSETS = 0.05, 3
SMALL = 1e-3
"""A share of the predicted change along which losses are taken, and their difference scaled up: to first order."""

OLD: dict[str, Any] = {"learning_rate": 0.2, "warmup": 0, "schedule": "cosine", "steps": 1410}
MNIST: dict[str, dict[str, Any]] = {
    "as registered": {},
    "no warm-up": {"warmup": 0},
    "cosine": {"schedule": "cosine"},
    "half the passes": {"steps": 1410, "warmup": 705},
    "twice the step": {"learning_rate": 0.2},
    "half the step": {"learning_rate": 0.05},
    "momentum 0.95": {"momentum": 0.95},
    "no momentum, same η/(1 − μ)": {"momentum": 0.0, "learning_rate": 1.0},
    "no momentum, η = 0.5": {"momentum": 0.0, "learning_rate": 0.5},
    "batches of 1,000": {"batch_size": 1000, "steps": 720, "warmup": 360, "learning_rate": 0.2},
    "ρ = 0.2": {"rho": 0.2},
    "plain SGD": {"rho": 0.0},
    "tanh": {"activation": "tanh"},
    "ReLU": {"activation": "relu"},
    "six passes, η = 0.2, no warm-up": OLD,
    "six passes, η = 0.2, warm-up": OLD | {"warmup": 700},
}
PLAIN: dict[str, Any] = {"channels": (16, 32), "norm": False, "initialisation": "torch", "learning_rate": 0.07}
"""Two layers with neither norm nor He's weights."""
CIFAR: dict[str, dict[str, Any]] = {
    "as registered": {},
    "η = 0.06": {"learning_rate": 0.06},
    "two layers, η = 0.035": {"channels": (16, 32), "learning_rate": 0.035},
    "two layers, η = 0.07": {"channels": (16, 32), "learning_rate": 0.07},
    "two plain layers, η = 0.035": PLAIN | {"learning_rate": 0.035},
    "two plain layers, η = 0.07": PLAIN,
    "two plain layers, η = 0.07, no warm-up": PLAIN | {"warmup": 0},
    "two plain layers, η = 0.14": PLAIN | {"learning_rate": 0.14},
}
FASHION: dict[str, dict[str, Any]] = {
    "as registered": {},
    "no norm, η = 0.1": {"norm": False, "learning_rate": 0.1},
    "η = 0.05": {"learning_rate": 0.05},
    "no norm, PyTorch's weights, η = 0.2": {"norm": False, "initialisation": "torch", "learning_rate": 0.2},
}
RECIPES = {"mnist-mlp-full": MNIST, "cifar10-cnn-norm-20000": CIFAR, "fashion-cnn-full": FASHION}
"""Recipes of each workload by what they differ in from the one that is registered."""

RESNET = {"n_train": 20_000, "width": 8, "batch_size": 125, "steps": 960, "warmup": 480, "learning_rate": 0.05}
"""A network of its own, since retraining the registered one takes half an hour."""


def measure(workload: Workload, recipe: str, settings: Mapping[str, Any]) -> pd.DataFrame:
    """How well the derivative of a run predicts its retraining without random subsets.

    Args:
        workload: The workload.
        recipe: What the recipe is called.
        settings: In what it differs from the workload's own.

    Returns:
        A row: `recipe`; `accuracy` on the validation points; means over subsets of `spearman`, between the exact and
        the predicted effects on them, and of `cosine` and `ratio`, of the predicted to the exact change of ω.
    """
    run = train(workload.override(**settings))
    size = round(FRACTION * run.n_train)
    groups = [
        torch.randperm(run.n_train, generator=stream(workload.seed, "subsets", size, i))[:size].sort().values
        for i in range(SUBSETS)
    ]
    validation = run.splits.validation
    before = run.query_losses(validation)
    rows = []
    exact = whole(retraining_truth(run, groups)).changes
    for change, predicted in zip(exact, parameter_change(run, "sam-unrolled", groups), strict=True):
        true = run.query_losses(validation, run.parameters + change) - before
        told = (run.query_losses(validation, run.parameters + SMALL * predicted) - before) / SMALL
        pair = [effects.double().cpu().numpy()[:, None] for effects in (told, true)]
        rows.append(
            {
                "spearman": float(spearman_per_query(*pair)[0]),
                "cosine": float(torch.cosine_similarity(predicted, change, 0)),
                "ratio": float(predicted.norm() / change.norm()),
            }
        )
    means = pd.DataFrame(rows).mean().to_dict()
    found = {"recipe": recipe, "accuracy": run.accuracy(validation), **means}
    return pd.DataFrame([{"method": "sam-unrolled", **found}]).replace([np.inf, -np.inf], np.nan)


CASES = {
    "real": [
        Case(name, {}, {"recipe": recipe, "settings": settings})
        for name, recipes in RECIPES.items()
        for recipe, settings in recipes.items()
    ]
    + [
        Case(
            "cifar10-resnet9-narrow",
            RESNET,
            {"recipe": "20,000 points, width 8, η = 0.05", "settings": {}},
        )
    ]
}
