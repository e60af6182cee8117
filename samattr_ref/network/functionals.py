"""What of a query is attributed: its loss, its margin, or the logit of its class.

| name   | f(z, y) of logits z and class y              | larger is | source           |
| ------ | -------------------------------------------- | --------- | ---------------- |
| loss   | logsumexp(z) − z_y, cross-entropy            | worse     | –                |
| margin | z_y − logsumexp of the others, ln(p/(1 − p)) | better    | Park et al. 2023 |
| logit  | z_y                                          | better    | –                |

A score of a query is the predicted f(ω_{−i}) − f(ω*), whatever f is: where a larger value is better, a point that helps
has a negative score. A query enters a method by its value and by ∇f(ω) = Jᵀ ∂f/∂z alone, J the logits' Jacobian: f
needs no second derivative.

Since ℓ = ln(1 + e^{−m}), exact effects on the loss and on the margin of one query rank points alike, in reverse, and
scores that are linear at ω* are the same but for the factor −(1 − p). Means over queries differ. In float32 the loss of
a query that is fitted well is all rounding, and its margin is not.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from samattr_ref.network.losses import Loss, cross_entropy, one_hot, residuals
from samattr_ref.support.errors import SamattrError, unknown_name


@dataclass(frozen=True)
class Functional:
    """A number that is made of a query's logits.

    Attributes:
        name: What it is called.
        value: Logits [b, c] and class indices [b] to f, [b]. That of the loss is cross-entropy, and the network's own
            loss stands in its place, see `of`.
        by_logits: The same to ∂f/∂z, [b, c].
        sign: 1 where a larger value is worse, −1 where it is better: `sign` times a score is positive where a point
            helps.
    """

    name: str
    value: Callable[[Tensor, Tensor], Tensor]
    by_logits: Callable[[Tensor, Tensor], Tensor]
    sign: int

    def of(self, loss: Loss) -> "Functional":
        """What it is of a network that is trained on another loss than cross-entropy: the loss is that loss.

        Raises:
            SamattrError: for a margin or a logit where there are no classes.
        """
        if self.name == LOSS.name:
            return Functional(self.name, loss.value, loss.by_outputs, self.sign)
        if not loss.classes:
            raise SamattrError(f"the {self.name} of a query is one of class logits, which {loss} has none of")
        return self


def _margin(logits: Tensor, labels: Tensor) -> Tensor:
    return _logit(logits, labels) - _others(logits, labels).logsumexp(-1)


def _margin_by_logits(logits: Tensor, labels: Tensor) -> Tensor:
    return one_hot(labels, logits) - _others(logits, labels).softmax(-1)


def _others(logits: Tensor, labels: Tensor) -> Tensor:
    """The logits, that of the class itself at minus infinity."""
    return logits.masked_fill(one_hot(labels, logits).bool(), -torch.inf)


def _logit(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits * one_hot(labels, logits)).sum(-1)


def _logit_by_logits(logits: Tensor, labels: Tensor) -> Tensor:
    return one_hot(labels, logits)


LOSS = Functional("loss", cross_entropy, residuals, 1)

FUNCTIONALS = {
    known.name: known
    for known in (
        LOSS,
        Functional("margin", _margin, _margin_by_logits, -1),
        Functional("logit", _logit, _logit_by_logits, -1),
    )
}
"""The functionals by name."""


def get_functional(name: str) -> Functional:
    """A functional by name.

    Raises:
        SamattrError: if there is none.

    >>> get_functional("margin").sign
    -1
    """
    if name not in FUNCTIONALS:
        raise unknown_name("functional of a query", name, FUNCTIONALS)
    return FUNCTIONALS[name]
