"""What is measured where: a workload with settings and arguments; and the methods that experiments compare."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from baselines.validation import GROUND_TRUTH

ORDER = (
    "sam-unrolled",
    "sam-hif-implicit",
    "sam-if",
    "sam-hif",
    "sam-hif-fast",
    "sam-gif",
    "if",
    "tracin",
    "tracin-cp",
    "grad-dot",
    "random",
)
"""The order of methods in tables and figures; methods of other packages follow."""
COMPARED = (GROUND_TRUTH, *(name for name in ORDER if name not in ("sam-unrolled", "tracin-cp", "random")))
"""What the paper's curves compare: its methods and their rivals, without the floor; TracIn over all steps stands for
both of its kinds. `sam-unrolled` goes past the paper and has experiments of its own."""


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
PAPER = (
    Case("cifar10-cnn", {"n_train": 50000, "steps": 10000, "n_removed": 100}),
    Case("cifar10-resnet9", {"n_train": 50000, "steps": 10000, "width": 64, "n_removed": 20}),
)
"""CIFAR-10 whole, exact leave-one-out of some points: for a GPU."""


def over(cases: Sequence[Case], name: str, values: Sequence[Any]) -> list[Case]:
    """The cases with each of the values as an argument of `measure`."""
    return [replace(case, arguments={**case.arguments, name: value}) for case in cases for value in values]
