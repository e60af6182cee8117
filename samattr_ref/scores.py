"""Scores: what a method says, in the one sign convention of the project."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Scores:
    """Predicted changes of query losses.

    Attributes:
        values: s[i, q], the predicted ℓ_q(ω_{−i}) − ℓ_q(ω*) in nats when training point i is removed: positive where
            the point helps the query. Shape [n_train, n_query].
        diagnostics: What the method reports beside them, JSON values; those that `samattr_ref.marks` reads mark what is
            made of the scores.
    """

    values: Tensor
    diagnostics: dict[str, Any] = field(default_factory=dict)


def merge_diagnostics(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the diagnostics of two blocks of queries: keep the larger of two numbers, and all of words and of lists."""
    together = {**one, **other}
    for name in one.keys() & other.keys():
        a, b = one[name], other[name]
        if isinstance(a, Mapping):
            together[name] = merge_diagnostics(a, b)
        elif isinstance(a, int | float):
            together[name] = max(a, b)
        elif isinstance(a, list) and isinstance(b, list):
            together[name] = [*a, *(item for item in b if item not in a)]
        elif isinstance(a, str) and b not in a.split(", "):
            together[name] = f"{a}, {b}"
    return together
