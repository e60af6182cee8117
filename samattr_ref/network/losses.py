"""The loss of a sample: cross-entropy, and its derivative by the logits."""

from functools import cache

import torch
from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each sample [b] from logits [b, c] and class indices [b].

    Written as logsumexp(z) − z_y with a one-hot product: under `vmap` on a CPU that is twice as fast as
    `torch.nn.functional.cross_entropy`, whose log-softmax over few classes does not vectorise.
    """
    return torch.logsumexp(logits, -1) - (logits * one_hot(labels, logits)).sum(-1)


def residuals(logits: Tensor, labels: Tensor) -> Tensor:
    """∂ℓ_i/∂z_i = softmax(z_i) − onehot(y_i) of each sample, [b, c]: where every backward pass begins."""
    return logits.softmax(-1) - one_hot(labels, logits)


def one_hot(labels: Tensor, logits: Tensor) -> Tensor:
    """1 at each label and 0 elsewhere, in the shape and dtype of the logits [b, c]."""
    return _identity(logits.shape[-1], logits.dtype, logits.device)[labels]


@cache
def _identity(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.eye(size, dtype=dtype, device=device)
