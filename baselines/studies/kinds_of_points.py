"""What kind the most harmful training points are of: wrong, rare or merely hard."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from baselines.studies.agreement import chosen_options
from baselines.studies.cases import Case
from baselines.studies.chosen import compared
from baselines.studies.detection import held_out_probabilities
from baselines.truth import leave_one_out
from baselines.validation import GROUND_TRUTH
from samattr_ref.attribution import influence_score
from samattr_ref.training import train
from samattr_ref.workload import Workload

NEIGHBOURS, FEW, FOLDS = 10, 3, 5


SHOWN = 16
SCORED = ("sam-if", *(name for name in compared() if name not in ("loo", "sam-if", "tracin")), "tracin-cp")
"""Methods where exact LOO is out of reach, the one that the figure shows in front."""


def harmful(workload: Workload, method: str, n_images: int) -> pd.DataFrame:
    """Every training point with its Influence Score and its kind.

    Args:
        workload: The workload.
        method: A method's name, or `loo`.
        n_images: For how many of the lowest scores the input is kept.

    Returns:
        A row a point: `score`, `given` and `clean` label, `kind` (`wrong`: mislabelled; `rare`: right, but fewer than
        `FEW` of its `NEIGHBOURS` nearest training inputs share its clean label; `hard`: right and not rare, but the run
        without its fold predicts another class; `none` of these) and `image`, its input as a list, or None.
    """
    run = train(workload)
    if method == GROUND_TRUTH:
        score = leave_one_out(run).influence
    else:
        score = influence_score(run, method, run.splits.validation, **chosen_options(method, workload))
    given, noisy = run.train.y.cpu().numpy(), run.splits.noisy.cpu().numpy()
    clean = given if run.splits.clean is None else run.splits.clean.cpu().numpy()
    flat = run.train.x.flatten(1).double().cpu().numpy()
    near = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(flat).kneighbors(flat, return_distance=False)[:, 1:]
    rare = (clean[near] == clean[:, None]).sum(1) < FEW
    hard = held_out_probabilities(run, FOLDS).argmax(1) != given
    kind = np.select([noisy, rare, hard], ["wrong", "rare", "hard"], "none")
    scores = score.double().cpu().numpy()
    shown = set(np.argsort(scores, kind="stable")[:n_images].tolist())
    images = [flat[i].tolist() if i in shown else None for i in range(run.n_train)]
    return pd.DataFrame({"score": scores, "given": given, "clean": clean, "kind": kind, "image": images})


def measure(workload: Workload, methods: Sequence[str]) -> pd.DataFrame:
    """Every training point with its score by each method and its kind; the images of the first method's worst."""
    parts = [harmful(workload, name, SHOWN if name == methods[0] else 0).assign(method=name) for name in methods]
    return pd.concat(parts, ignore_index=True)


CASES = {
    "desk": [
        Case("digits-mlp", arguments={"methods": compared()}),
        Case("cifar10n-cnn", {"n_train": 500, "channels": (4, 8), "steps": 200}, {"methods": SCORED}),
    ],
    "paper": [Case("cifar10n-cnn", {"n_train": 50000, "steps": 10000}, {"methods": SCORED})],
}
