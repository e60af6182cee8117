"""How good a network is: what is said of its attribution is worth as much as the network is."""

from dataclasses import asdict, dataclass

from samattr_ref.run import Run
from samattr_ref.support import store
from samattr_ref.support.errors import TrajectoryError
from samattr_ref.support.seeds import tensor_digest


@dataclass(frozen=True)
class Quality:
    """What training made of a network.

    Attributes:
        epochs: How often a training point was in a batch, on average.
        unseen: Share of the training points that were in none.
        accuracy: Share of the validation points that it has right.
        training_accuracy: Share of the training points whose label, as trained on, it gives.
        fitted: Share of the wrong labels that it gives; None where no label is wrong.
    """

    epochs: float
    unseen: float
    accuracy: float
    training_accuracy: float
    fitted: float | None


def quality(run: Run) -> Quality:
    """What training made of a run's network: stored beside the run, by what it is held against, and found again.

    Raises:
        TrajectoryError: for a run whose batches are not known.
    """
    if not run.stepwise:
        raise TrajectoryError("how often a point was seen")
    train, validation, noisy = run.train, run.splits.validation, run.splits.noisy
    path, name = store.folder("runs", run.key), f"quality-{tensor_digest(validation.x, validation.y, noisy)[:24]}"
    if (stored := store.load(path, name)) is not None:
        return Quality(**stored[0])
    seen = run.batches[run.batches >= 0].bincount(minlength=run.n_train)
    found = Quality(
        epochs=float(seen.double().mean()),
        unseen=float((seen == 0).double().mean()),
        accuracy=run.accuracy(validation),
        training_accuracy=run.accuracy(train),
        fitted=run.accuracy(train.take(noisy.nonzero()[:, 0])) if noisy.any() else None,
    )
    store.save(path, name, asdict(found))
    return found
