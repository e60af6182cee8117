"""What same-run ground truth needs of a network, tried on a few points: its outputs are fixed, each by its own input.

Otherwise a removed point would change more than the terms of the loss that are its own. `Objective` refuses the layers
that are known for it by their type; here a network is caught by what it does.
"""

import torch
from torch import Tensor

from samattr_ref.errors import SamattrError
from samattr_ref.objective import Objective

POINTS = 4
"""How many points are tried."""


def check_deterministic(objective: Objective, omega: Tensor, x: Tensor) -> None:
    """Refuse a network that is random or that mixes samples, in the mode that it trains in.

    Args:
        objective: The network.
        omega: Parameters [P].
        x: Inputs [b, ...], of which the first few are used.

    Raises:
        SamattrError: if it draws random numbers, gives the same input another output the second time, or gives a point
            another output in a batch than alone, beyond rounding.
    """
    few = x[:POINTS]
    with torch.no_grad():
        drawn = _generators(omega)
        first, second = objective.logits(omega, few), objective.logits(omega, few)
        # Twice the same output proves little where a layer is skipped now and then: the generators tell for certain.
        if any(map(_differ, drawn, _generators(omega))) or not _equal(first, second):
            raise SamattrError(
                "the network is random: its outputs for the same input differ from call to call, so no same-run ground "
                "truth exists; remove what draws random numbers (dropout, stochastic depth, augmentation)"
            )
        alone = torch.cat([objective.logits(omega, point[None]) for point in few])
    if not _equal(first, alone):
        raise SamattrError(
            "the network mixes samples: its output for a point depends on the others of the batch, so no same-run "
            "ground truth exists; remove what it computes over the batch (batch statistics, contrast between samples)"
        )


def _generators(omega: Tensor) -> list[Tensor]:
    """The states of torch's global random generators that a network there can draw from."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(omega.device)] if omega.is_cuda else [])]


def _differ(before: Tensor, after: Tensor) -> bool:
    return not torch.equal(before, after)


def _equal(a: Tensor, b: Tensor) -> bool:
    """Whether outputs agree but for rounding, which grows with depth and differs between batch sizes."""
    tolerance = 10 * torch.finfo(a.dtype).eps ** 0.5
    return torch.allclose(a, b, rtol=tolerance, atol=tolerance * float(a.abs().max()), equal_nan=True)
