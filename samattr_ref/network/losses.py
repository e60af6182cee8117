"""The loss ℓ(z, y) of a sample: its value, and its first and second derivative by the network's outputs z.

| loss               | outputs z | targets y                     | ℓ                                               |
| ------------------ | --------- | ----------------------------- | ----------------------------------------------- |
| CrossEntropy       | [b, c]    | classes, int [b]              | a_y (logsumexp z − Σ_k q_k z_k), q smoothed     |
| NextToken          | [b, s, c] | classes, int [b, s]           | mean over positions of logsumexp z_s − z_{s,y}  |
| BinaryCrossEntropy | [b, k]    | 0 or 1 a label [b, k]         | mean over labels of ln(1 + e^z) − y z           |
| SquaredError       | [b, k]    | numbers [b, k], or [b], k = 1 | mean over outputs of (z − y)²                   |

Everything else is made of the three: a backward pass begins at ∂ℓ/∂z, and the Gauss-Newton matrix is Jᵀ (∂²ℓ/∂z²) J. A
loss of one's own is a frozen dataclass with `value` alone: the derivatives are then autograd's. The training loss is
(1/|b|) Σ_i w_i ℓ_i with the divisor |b| whatever the losses weigh.
"""

from dataclasses import dataclass
from functools import cache
from math import isfinite

import torch
from torch import Tensor
from torch.func import grad, jvp
from torch.nn.functional import softplus

from samattr_ref.support.errors import SamattrError
from samattr_ref.support.options import checked


class Loss:
    """The loss of a sample by a network's outputs and its target, each sample by itself."""

    classes = False
    """Whether outputs are class logits [b, c] and targets class indices [b]: then there are predictions and margins."""

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """ℓ_i of outputs [b, ...] and targets [b, ...]: [b]."""
        raise NotImplementedError(f"{type(self).__name__} has no value(outputs, targets)")

    def by_outputs(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """∂ℓ_i/∂z_i, [b, ...]."""
        found: Tensor = grad(lambda z: self.value(z, targets).sum())(outputs)
        return found

    def curvature(self, outputs: Tensor, targets: Tensor, change: Tensor) -> Tensor:
        """∂²ℓ_i/∂z_i² times a change of the outputs [b, ...], positive semidefinite where ℓ is convex in z."""
        along: Tensor = jvp(lambda z: self.by_outputs(z, targets), (outputs,), (change,))[1]
        return along

    def quality(self, outputs: Tensor, targets: Tensor) -> float:
        """How good the outputs are, 1 at best: the share that is right, or what stands for it; NaN for nothing."""
        return float("nan")

    def check(self, targets: Tensor, n_outputs: int) -> None:
        """Refuse targets that it cannot take.

        Raises:
            SamattrError: saying what it takes.
        """

    def check_outputs(self, outputs: Tensor, n_outputs: int) -> None:
        """Refuse outputs of a network that it cannot take.

        Raises:
            SamattrError: saying what it takes.
        """
        if outputs.shape[1] < n_outputs:
            raise SamattrError(f"the network has {outputs.shape[1]} outputs, fewer than the {n_outputs} of the targets")


@checked
@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Cross-entropy of class logits [b, c] and class indices [b], in nats.

    Attributes:
        label_smoothing: ε in [0, 1): the target is 1 − ε at the label and ε/c everywhere beside (Szegedy et al. 2016).
        class_weights: a_c > 0, one a class, which the loss of a sample of that class is multiplied by; None for 1.
    """

    classes = True
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise SamattrError(f"label_smoothing must lie in [0, 1), not {self.label_smoothing}")
        if self.class_weights is not None and not all(isfinite(a) and a > 0 for a in self.class_weights):
            raise SamattrError(f"class_weights must be positive numbers, one a class, not {self.class_weights}")

    @property
    def plain(self) -> bool:
        """Whether it is neither smoothed nor weighted."""
        return not self.label_smoothing and self.class_weights is None

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """[b]."""
        if self.plain:
            return cross_entropy(outputs, targets)
        found = torch.logsumexp(outputs, -1) - (outputs * self._smoothed(outputs, targets)).sum(-1)
        return found * self._weights(outputs, targets)

    def by_outputs(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """a_y (softmax(z) − q), [b, c]."""
        if self.plain:
            return residuals(outputs, targets)
        found = outputs.softmax(-1) - self._smoothed(outputs, targets)
        return found * self._weights(outputs, targets)[..., None]

    def curvature(self, outputs: Tensor, targets: Tensor, change: Tensor) -> Tensor:
        """a_y (diag π − π πᵀ) times the change, [b, c]."""
        found = softmax_curvature(outputs, change)
        return found if self.class_weights is None else found * self._weights(outputs, targets)[..., None]

    def quality(self, outputs: Tensor, targets: Tensor) -> float:
        """The accuracy."""
        return float((outputs.argmax(-1) == targets).double().mean())

    def check(self, targets: Tensor, n_outputs: int) -> None:
        """Class indices."""
        if targets.is_floating_point() or targets.ndim != 1:
            raise SamattrError(
                f"labels are {described(targets)}, and cross-entropy takes class indices [b]: give the "
                "workload loss=sr.SquaredError(), sr.BinaryCrossEntropy() or sr.NextToken() for other targets"
            )
        if self.class_weights is not None and len(self.class_weights) != n_outputs:
            raise SamattrError(f"class_weights has {len(self.class_weights)} numbers for {n_outputs} classes")
        _check_indices(targets, n_outputs)

    def check_outputs(self, outputs: Tensor, n_outputs: int) -> None:
        """Class logits [b, c]."""
        if outputs.dim() != 2:
            raise SamattrError(
                f"the network returns shape {list(outputs.shape)} for {len(outputs)} points: it must return class "
                "logits [b, c]"
            )
        _check_classes(outputs, n_outputs)

    def _smoothed(self, outputs: Tensor, targets: Tensor) -> Tensor:
        epsilon = self.label_smoothing
        return (1 - epsilon) * one_hot(targets, outputs) + epsilon / outputs.shape[-1]

    def _weights(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.new_tensor(self.class_weights or [1.0] * outputs.shape[-1])[targets]


@dataclass(frozen=True)
class NextToken(Loss):
    """Cross-entropy of logits [b, s, c] and the token that follows each position [b, s]: the mean over them."""

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """[b]."""
        return cross_entropy(outputs, targets).mean(-1)

    def by_outputs(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """[b, s, c]."""
        return residuals(outputs, targets) / targets.shape[-1]

    def curvature(self, outputs: Tensor, targets: Tensor, change: Tensor) -> Tensor:
        """[b, s, c]."""
        return softmax_curvature(outputs, change) / targets.shape[-1]

    def quality(self, outputs: Tensor, targets: Tensor) -> float:
        """The share of tokens that are the likeliest."""
        return float((outputs.argmax(-1) == targets).double().mean())

    def check(self, targets: Tensor, n_outputs: int) -> None:
        """Tokens."""
        if targets.is_floating_point() or targets.ndim != 2:
            raise SamattrError(f"sr.NextToken takes tokens, whole numbers [b, s], not {described(targets)}")
        _check_indices(targets, n_outputs)

    def check_outputs(self, outputs: Tensor, n_outputs: int) -> None:
        """Logits a position."""
        if outputs.dim() != 3:
            raise SamattrError(f"the network returns shape {list(outputs.shape)}: sr.NextToken needs logits [b, s, c]")
        _check_classes(outputs, n_outputs)


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """Binary cross-entropy of logits [b, k] and labels [b, k] of 0 or 1 (or between): the mean over the labels."""

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """[b]."""
        return (softplus(outputs) - targets * outputs).mean(-1)

    def by_outputs(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(σ(z) − y)/k, [b, k]."""
        return (outputs.sigmoid() - targets) / targets.shape[-1]

    def curvature(self, outputs: Tensor, targets: Tensor, change: Tensor) -> Tensor:
        """σ (1 − σ)/k times the change, [b, k]."""
        p = outputs.sigmoid()
        return p * (1 - p) * change / targets.shape[-1]

    def quality(self, outputs: Tensor, targets: Tensor) -> float:
        """The share of labels that are right."""
        return float(((outputs > 0) == (targets > 0.5)).double().mean())

    def check(self, targets: Tensor, n_outputs: int) -> None:
        """Labels of 0 to 1."""
        if targets.ndim != 2 or targets.shape[1] != n_outputs or not targets.is_floating_point():
            raise SamattrError(f"sr.BinaryCrossEntropy takes floats of 0 to 1, [b, k], not {described(targets)}")
        if float(targets.min()) < 0 or float(targets.max()) > 1:
            raise SamattrError("sr.BinaryCrossEntropy takes labels between 0 and 1")

    def check_outputs(self, outputs: Tensor, n_outputs: int) -> None:
        """One logit a label."""
        _check_width(outputs, n_outputs)


@dataclass(frozen=True)
class SquaredError(Loss):
    """Squared error of outputs [b, k] and targets [b, k], or [b] for one output: the mean over the outputs."""

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """[b]."""
        return (outputs - targets.view_as(outputs)).square().mean(-1)

    def by_outputs(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """2 (z − y)/k, [b, k]."""
        return (outputs - targets.view_as(outputs)) * (2 / outputs.shape[-1])

    def curvature(self, outputs: Tensor, targets: Tensor, change: Tensor) -> Tensor:
        """2/k times the change, [b, k]."""
        return change * (2 / outputs.shape[-1])

    def quality(self, outputs: Tensor, targets: Tensor) -> float:
        """The share of the targets' variance that is explained, R²; NaN where they have none."""
        y = targets.view_as(outputs).double()
        variance = (y - y.mean(0)).square().sum()
        return float(1 - (outputs - y).square().sum() / variance) if float(variance) else float("nan")

    def check(self, targets: Tensor, n_outputs: int) -> None:
        """Numbers."""
        width = 1 if targets.ndim == 1 else targets.shape[-1]
        if not targets.is_floating_point() or targets.ndim > 2 or width != n_outputs:
            raise SamattrError(f"sr.SquaredError takes floats [b] or [b, k], not {described(targets)}")

    def check_outputs(self, outputs: Tensor, n_outputs: int) -> None:
        """One output a number."""
        _check_width(outputs, n_outputs)


CROSS_ENTROPY = CrossEntropy()


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each sample [b] from logits [b, c] and class indices [b].

    Written as logsumexp(z) − z_y with a one-hot product: under `vmap` on a CPU that is twice as fast as
    `torch.nn.functional.cross_entropy`, whose log-softmax over few classes does not vectorise.
    """
    return torch.logsumexp(logits, -1) - (logits * one_hot(labels, logits)).sum(-1)


def residuals(logits: Tensor, labels: Tensor) -> Tensor:
    """∂ℓ_i/∂z_i = softmax(z_i) − onehot(y_i) of each sample, [b, c]: where every backward pass begins."""
    return logits.softmax(-1) - one_hot(labels, logits)


def softmax_curvature(logits: Tensor, change: Tensor) -> Tensor:
    """(diag π_i − π_i π_iᵀ) times the change of each sample's logits, [b, c]."""
    pi = logits.softmax(-1)
    weighted = pi * change
    return weighted - pi * weighted.sum(-1, keepdim=True)


def one_hot(labels: Tensor, logits: Tensor) -> Tensor:
    """1 at each label and 0 elsewhere, in the shape and dtype of the logits [b, c]."""
    return _identity(logits.shape[-1], logits.dtype, logits.device)[labels]


@cache
def _identity(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.eye(size, dtype=dtype, device=device)


def _check_indices(targets: Tensor, n_outputs: int) -> None:
    if int(targets.min()) < 0:
        raise SamattrError("labels must be class indices: whole numbers >= 0")
    if (label := int(targets.max())) >= n_outputs:
        raise SamattrError(f"there is a label {label}, outside the {n_outputs} classes")


def _check_classes(outputs: Tensor, n_outputs: int) -> None:
    if outputs.shape[-1] < max(2, n_outputs):
        one = " (a binary network needs two, one a class)" if outputs.shape[-1] == 1 else ""
        raise SamattrError(f"the network has {outputs.shape[-1]} outputs, fewer than the {n_outputs} classes{one}")


def _check_width(outputs: Tensor, n_outputs: int) -> None:
    if outputs.dim() != 2 or outputs.shape[1] != n_outputs:
        raise SamattrError(f"the network returns shape {list(outputs.shape)}: the loss needs [b, {n_outputs}]")


def described(tensor: Tensor) -> str:
    """Its dtype and shape in words.

    >>> described(torch.zeros(2, 3))
    'float32 [2, 3]'
    """
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
