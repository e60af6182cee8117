"""Scores: what a method says, in the one sign convention of the project."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Scores:
    """Predicted changes of query losses.

    Attributes:
        values: s[i, q], the predicted ℓ_q(ω_{−i}) − ℓ_q(ω*) in nats when training point i is removed: positive where
            the point helps the query. Shape [n_train, n_query].
        diagnostics: What the method reports beside them, JSON values.
    """

    values: Tensor
    diagnostics: dict[str, Any] = field(default_factory=dict)
