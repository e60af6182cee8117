"""One plain training, as a good user of PyTorch writes it: the yardstick that every cost is a multiple of."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils import vector_to_parameters

from samattr_ref.run import Run
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.timing import Timing, timed, undisturbed

REPEATS, ENOUGH_SECONDS = 3, 5.0
"""What else a machine does weighs little in a long training."""


def train_plainly(run: Run) -> Tensor:
    """ω_T of the run's recipe, [P]: autograd and foreach updates on the module's own parameters, p = 2, nothing kept.

    Raises:
        SamattrError: for another norm than the 2-norm, which users' SAM has, or the optimiser's weight decay.
    """
    recipe = run.workload.recipe
    if recipe.p != 2 or not recipe.variant.is_sam or recipe.rule.decay:
        raise SamattrError("plain training knows SAM with p = 2 and weight decay in the loss alone")
    module = run.workload.build()[0].module
    parameters: list[Tensor] = [parameter for parameter in module.parameters() if parameter.requires_grad]
    vector_to_parameters(run.checkpoints[0].clone(), parameters)
    velocity = [torch.zeros_like(parameter) for parameter in parameters]
    step_sizes = run.step_sizes.tolist()
    for t, eta in enumerate(step_sizes):
        batch = run.batch(t)
        x, y = run.workload.inputs(run.train.x[batch], t), run.train.y[batch]

        def gradient(x: Tensor = x, y: Tensor = y) -> list[Tensor]:
            gradients = list(torch.autograd.grad(cross_entropy(module(x), y), parameters))
            with torch.no_grad():
                torch._foreach_add_(gradients, parameters, alpha=recipe.weight_decay)
            return gradients

        gradients = gradient()
        if recipe.rho > 0:
            with torch.no_grad():
                norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
                step = list(torch._foreach_mul(gradients, recipe.rho / norm))
                torch._foreach_add_(parameters, step)
            gradients = gradient()
            with torch.no_grad():
                torch._foreach_sub_(parameters, step)
        with torch.no_grad():
            torch._foreach_mul_(velocity, recipe.momentum)
            torch._foreach_add_(velocity, gradients)
            torch._foreach_add_(parameters, velocity, alpha=-eta)
    return torch.cat([parameter.detach().reshape(-1) for parameter in parameters])


def plain_training(run: Run) -> Timing:
    """Median of `REPEATS` plain trainings, or of as many as begin within `ENOUGH_SECONDS`, disturbed ones left out."""
    taken: list[Timing] = []
    while len(taken) < REPEATS and sum(one.seconds for one in taken) < ENOUGH_SECONDS:
        taken.append(timed(lambda: train_plainly(run), tries=1))
    good = sorted(undisturbed(taken), key=lambda one: one.seconds)
    return good[len(good) // 2]
