"""A loss is held against its own value: each sample by itself, and derivatives as autograd takes them."""

import torch
from torch import Tensor

from samattr_ref.network.losses import Loss
from samattr_ref.network.network import Network
from samattr_ref.network.trial import Trial
from samattr_ref.support.errors import SamattrError, first_line
from samattr_ref.support.seeds import stream


def check_loss(network: Network, trial: Trial, omega: Tensor) -> None:
    """Refuse a loss that is none of each sample by itself, or whose written-out derivatives are not its own.

    Args:
        network: The network, which has the loss.
        trial: Points to try it at.
        omega: Parameters, [P].

    Raises:
        SamattrError: saying what is wrong with it.
    """
    loss, y = network.loss, trial.y
    with torch.no_grad(), network.holding(omega) as module:
        z = module(trial.x.clone())
    change = torch.randn(z.shape, generator=stream(0, "loss"), dtype=torch.float64).to(z)
    try:
        together = loss.value(z, y)
        alone = torch.cat([loss.value(z[i : i + 1], y[i : i + 1]).view(1) for i in range(len(z))])
        first = loss.by_outputs(z, y), Loss.by_outputs(loss, z, y)
        second = loss.curvature(z, y, change), Loss.curvature(loss, z, y, change)
    except Exception as error:  # whatever a user's loss raises
        raise SamattrError(f"the loss cannot be computed and differentiated twice: {first_line(error)}") from error
    rounding = 10 * torch.finfo(z.dtype).eps * float(z.abs().max())
    if not _near(together, alone, rounding):
        raise SamattrError(
            "the loss must be one number a point, [b], each by itself: leave means and sums out of value"
        )
    for name, (own, true) in {"by_outputs": first, "curvature": second}.items():
        if not _near(own, true, rounding):
            raise SamattrError(f"the loss's {name} is not what autograd makes of its value: mend it, or leave it out")


def _near(found: Tensor, true: Tensor, rounding: float) -> bool:
    """Whether they are the same but for a ten-thousandth of the largest, and the rounding of outputs."""
    return found.shape == true.shape and bool((found - true).abs().max() <= 1e-4 * true.abs().max() + rounding)
