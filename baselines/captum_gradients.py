"""captum's gradients of samples, and the way of taking them that is right for a network."""

from typing import Any

from torch import Tensor, nn
from torch.utils.data import DataLoader

from baselines.libraries import check_gradients, followed, trial_points
from samattr_ref.data import Examples
from samattr_ref.registry import Library
from samattr_ref.run import Run
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.memory import chunk_length, chunks

CAPTUM = Library("captum", "captum", "pip install 'samattr[peers]'")


def loss(by_hooks: bool) -> nn.CrossEntropyLoss:
    """The loss in the reduction that each way of taking gradients is to be given."""
    return nn.CrossEntropyLoss(reduction="sum" if by_hooks else "none")


def batches(examples: Examples, size: int) -> DataLoader[Any]:
    """Examples in batches that are cut here, and not gathered point by point."""
    parts = [(examples.x[part], examples.y[part]) for part in chunks(len(examples.x), size)]
    return DataLoader(parts, batch_size=None)  # type: ignore[arg-type]  # a list is a data set


def batch_length(run: Run) -> int:
    """Training points a batch: their gradients with what is made of them, and all activations."""
    return chunk_length(3 * run.parameters.nbytes + 6 * run.objective.activation_bytes(run.train.x))


def tracin(run: Run, module: nn.Module, train: Examples, by_hooks: bool, rate: float = 1.0) -> Any:
    """The `TracInCP` of captum at the state that the module holds, alone."""
    from captum.influence import TracInCP

    return TracInCP(
        module,
        batches(train, batch_length(run)),
        checkpoints=[0],  # by numbers: names are put in another order
        checkpoints_load_func=lambda *_: rate,
        loss_fn=loss(by_hooks),
        sample_wise_grads_per_batch=by_hooks,
    )


def right_way(run: Run, module: nn.Module, method: str) -> bool:
    """Whether gradients by captum's hooks are right at ω*; else those of one backward pass a point are.

    The hooks leave out, without a word, what is in no linear, convolutional or embedding layer.

    Args:
        run: The run.
        module: Its network at ω*.
        method: What asks.

    Raises:
        SamattrError: if neither way is right.
    """
    few = trial_points(run)

    def check(by_hooks: bool) -> None:
        with followed("captum"):
            found: Tensor = tracin(run, module, few, by_hooks).compute_intermediate_quantities((few.x, few.y))
        check_gradients(run, found.detach(), few, "captum", method)

    try:
        check(by_hooks=True)
    except SamattrError:
        check(by_hooks=False)
        return False
    finally:
        for parameter in module.parameters():
            if hasattr(parameter, "sample_grad"):
                del parameter.sample_grad
    return True
