"""What is measured where: a workload with settings and arguments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Case:
    """A workload that an experiment measures.

    Attributes:
        workload: Its name.
        settings: Fields of the workload that are overridden.
        arguments: What `measure` is given beside the workload; JSON values.
        seeds: At which seeds, where not at those of its profile.
    """

    workload: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] | None = None


DESK = (Case("digits-logreg"), Case("digits-mlp"))
"""Where exact leave-one-out of every point takes seconds."""
PAPER = (Case("cifar10-resnet9-narrow"), Case("cifar10-resnet9-wide"))
"""All of CIFAR-10, exact leave-one-out of some points: for a GPU."""

THREE = (0, 1, 2)
"""The seeds of what decides a claim, in a profile of one seed: a single seed has no interval."""

LARGE = {"curvature": "gauss-newton", "damping": 0.1, "solver": "neumann", "order": 10}
"""Options of the implicit methods where a network is too large to choose them: a short series, the same for all."""


def over(cases: Sequence[Case], name: str, values: Sequence[Any]) -> list[Case]:
    """The cases with each of the values as an argument of `measure`."""
    return [replace(case, arguments={**case.arguments, name: value}) for case in cases for value in values]
