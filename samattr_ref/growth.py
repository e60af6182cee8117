"""How the cost of a method grows: by its formula, in each size of a problem."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

AXES = {
    "n": "training points n",
    "P": "parameters P",
    "T": "steps T",
    "C": "checkpoints C",
    "J": "Neumann order J",
    "Q": "queries or removed groups Q",
}
"""The sizes that a cost may grow in, and what they are called."""


@dataclass(frozen=True)
class Growth:
    """The cost of scores for one mean query over m validation points: its formula, and the exponent of each size in it.

    F is the cost of a forward pass of one point, which grows as P does; B the points of a batch; K the iterations of a
    solver, each a few products with the curvature of all n points.

    Attributes:
        formula: Such as `Q K n F`.
        n: Training points, at a fixed number of steps.
        P: Parameters.
        T: Steps.
        C: Checkpoints.
        J: Order of a Neumann series.
        Q: Queries that are scored apart; removed groups where parameters are what is predicted.
    """

    formula: str
    n: int = 0
    P: int = 0
    T: int = 0
    C: int = 0
    J: int = 0
    Q: int = 0

    def exponent(self, axis: str) -> int:
        """The exponent in one of `AXES`; in n at a fixed number of epochs, so that steps grow with n.

        >>> Growth("T B F", P=1, T=1, Q=1).exponent("n"), Growth("n F", n=1, P=1, Q=1).exponent("T")
        (1, 0)
        """
        own: int = getattr(self, axis)
        return own + (self.T if axis == "n" else 0)


@dataclass(frozen=True)
class Way:
    """Another way to use a method, with a cost of its own.

    Attributes:
        label: What tables add to the method's own label.
        growth: How its cost grows.
        options: Options of the method that make it this way.
        change: Whether it predicts parameter changes of removed groups, and not scores.
    """

    label: str
    growth: Growth
    options: Mapping[str, Any] = field(default_factory=dict)
    change: bool = False
