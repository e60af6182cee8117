"""Sets that say something: at least two training points, of more than one class, and other points than they are asked.

Held-out points that equal a training point occur in real data (MNIST and CIFAR have some; a table of few columns has
many), and so do training points that are there twice. What is refused is a whole set drawn from the training points.
"""

from collections import Counter
from collections.abc import Mapping

from torch import Tensor

from samattr_ref.data.examples import Examples, Splits
from samattr_ref.support.errors import SamattrError

SHARED, REPEATED = 0.5, 0.1
"""What has more than the first share of its points in common with the training points was drawn from them, where less
than the second share of these are there more than once: else equal points are nothing unusual."""


def check_sets(splits: Splits, name: str) -> None:
    """Refuse training points that nothing can be said of.

    Args:
        splits: The sets.
        name: What they are called.

    Raises:
        SamattrError: if there is one training point alone, or all of them are of one class.
    """
    labels = splits.train.y if splits.clean is None else splits.clean
    if len(labels) < 2:
        raise SamattrError(f"{name} has a single training point, and ranks need two: take more")
    if _are_classes(labels) and len(labels.unique()) == 1:
        raise SamattrError(
            f"all {len(labels)} training points of {name} are of class {int(labels[0])}, and there is nothing to tell "
            "apart: take more of them, or other data"
        )


def check_apart(train: Examples, others: Mapping[str, Examples]) -> None:
    """Refuse held-out points that were drawn from the training points.

    Points are the same where their inputs are, bit for bit.

    Args:
        train: The training points.
        others: What was held out, by name.

    Raises:
        SamattrError: naming it.
    """
    known = Counter(_inputs(train))
    if sum(count for count in known.values() if count > 1) >= REPEATED * len(train.x):
        return
    for name, part in others.items():
        shared = sum(row in known for row in _inputs(part))
        if shared > SHARED * len(part.x):
            raise SamattrError(
                f"{shared} of the {len(part.x)} points of '{name}' are training points: take other rows of the data; "
                "training points may be asked about themselves by attribute(run, method, run.train)"
            )


def _are_classes(labels: Tensor) -> bool:
    return labels.ndim == 1 and not labels.is_floating_point()


def _inputs(part: Examples) -> list[int]:
    """A number for the input of each example, the same where inputs are."""
    return [hash(row.tobytes()) for row in part.x.cpu().numpy()]
