"""What is computed: a network, a checkpoint, training points and queries, the same for every peer."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from samattr_ref import load_workload, train
from samattr_ref.data import Examples
from samattr_ref.network.objective import Objective

Calculation = Callable[[], Tensor]
"""A timed call; ⟨∇ℓ_i(ω), ∇ℓ_q(ω)⟩, [n_train, n_query]."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A trained network with the points that are to be attributed.

    Attributes:
        objective: Our view of the network.
        omega: The checkpoint, [P].
        train: Training points.
        queries: Queries.
    """

    objective: Objective
    omega: Tensor
    train: Examples
    queries: Examples

    def module(self) -> nn.Module:
        """A copy of the network at the checkpoint: libraries put layers of their own into what they are given."""
        module = copy.deepcopy(self.objective.module)
        for parameter, value in zip(module.parameters(), self.objective.unflatten(self.omega).values(), strict=True):
            parameter.data = value.clone()
        return module

    def ours(self) -> Tensor:
        """This project's answer."""
        queries = self.objective.factored_gradients(self.omega, self.queries.x, self.queries.y)
        return self.objective.gradient_products(self.omega, self.train.x, self.train.y, queries)


@dataclass(frozen=True)
class Work:
    """Gradient dot products at one checkpoint.

    Attributes:
        name: Its name in rows.
        workload: The workload that is trained.
        settings: What is overridden of it.
    """

    name: str
    workload: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def problem(self) -> Problem:
        """Train the network and gather its points."""
        run = train(load_workload(self.workload).override(**self.settings), checkpoints=1)
        return Problem(run.objective, run.parameters, run.train, run.workload.queries)


WORKS = {
    work.name: work
    for work in (
        Work(
            "gradient-dot-products-mlp",
            "mnist-mlp",
            {"n_train": 5000, "n_query": 200, "hidden": (128,), "steps": 300},
        ),
        Work(
            "gradient-dot-products-cnn",
            "cifar10-cnn",
            {"n_train": 2000, "n_query": 100, "channels": (8, 16), "steps": 100},
        ),
    )
}


def relative_difference(found: Tensor, expected: Tensor) -> float:
    """The largest absolute difference over the largest absolute value."""
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=torch.finfo(expected.dtype).tiny))
