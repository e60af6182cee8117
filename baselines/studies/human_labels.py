"""Real label noise: the human labels of CIFAR-10N, and how well each way finds the wrong ones."""

import pandas as pd

from baselines.studies.cases import Case
from baselines.studies.detection import detection
from samattr_ref.registry import methods
from samattr_ref.training import train
from samattr_ref.workload import Workload

LABELS = ("aggregate", "random1", "worse")
FOLDS = 5


def measure(workload: Workload, labels: str) -> pd.DataFrame:
    """Wrong human labels found by every method, by self-influence, by confident learning and at random."""
    workload = workload.override(labels=labels)
    run = train(workload)
    frame = detection(run, list(methods()), ["tracin-cp", "grad-dot"], workload, folds=FOLDS)
    wrong = float(run.splits.noisy.double().mean())
    return frame.assign(labels=labels, wrong=wrong, accuracy=run.accuracy(run.splits.validation))


CASES = {
    "desk": [
        Case("cifar10n-cnn", {"n_train": 300, "channels": (4, 8), "steps": 200}, {"labels": labels})
        for labels in LABELS
    ],
    "paper": [Case("cifar10n-cnn", {"n_train": 50000, "steps": 10000}, {"labels": labels}) for labels in LABELS],
}
