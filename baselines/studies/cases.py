"""What is measured where: a workload with settings and arguments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Case:
    """A workload that an experiment measures, at every seed.

    Attributes:
        workload: Its name.
        settings: Fields of the workload that are overridden.
        arguments: What `measure` is given beside the workload; JSON values.
    """

    workload: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)


DESK = (Case("digits-logreg"), Case("digits-mlp"))
"""Where exact leave-one-out of every point takes seconds."""
PAPER = (Case("cifar10-resnet9-narrow"), Case("cifar10-resnet9-wide"))
"""All of CIFAR-10, exact leave-one-out of some points: for a GPU."""

LARGE = {"curvature": "gauss-newton", "damping": 0.1, "solver": "neumann", "order": 10}
"""Options of the implicit methods where a network is too large to choose them: a short series, the same for all."""


def over(cases: Sequence[Case], name: str, values: Sequence[Any]) -> list[Case]:
    """The cases with each of the values as an argument of `measure`."""
    return [replace(case, arguments={**case.arguments, name: value}) for case in cases for value in values]
