"""One run or the expected effect? Scores averaged over runs of the same training: what they find, and what they tell.

The runs differ in their initial parameters and batches. Half of them are scored; the others are what they are held
against: their exact effects where these are to be had, and what becomes of one of them without the points of lowest
score. Points are scored for one half of the validation set, and accuracy is measured on the other.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from baselines import metrics
from baselines.diverged import whole
from baselines.studies.cases import DESK, Case
from baselines.studies.least_valuable import halves
from baselines.truth import leave_one_out, retraining_truth
from baselines.validation import GROUND_TRUTH
from samattr_ref.attribution import influence_score, training_seeds
from samattr_ref.run import Run
from samattr_ref.training import train
from samattr_ref.workload import Workload

RUNS = 8
METHODS = ("sam-unrolled", "sam-gif", "loss", "gradient-norm")


def measure(workload: Workload, runs: int, methods: Sequence[str], truths: bool) -> pd.DataFrame:
    """Influence Scores averaged over 1, 2, 4 … of the runs.

    Args:
        workload: The workload.
        runs: Runs that are scored; as many others they are held against where `truths`, else one.
        methods: The methods.
        truths: Whether exact leave-one-out of all points is made of every run.

    Returns:
        Rows `method`, `k`: `auc` of the wrong labels and, with truths, `spearman` with the mean exact effect of the
        other runs, both means over all windows of k runs; `own` and `other`, how much the accuracy of a scored run and
        of another, on the half that nothing was scored for, gains by retraining without the lowest-scored points, as
        many as labels are wrong.
    """
    own = [train(replace(workload, training_seed=seed)) for seed in training_seeds(workload, runs)]
    others = [train(replace(workload, training_seed=seed)) for seed in training_seeds(workload, 2 * runs)[runs:]]
    others = others if truths else others[:1]
    scores = {name: np.stack([_score(run, name) for run in own]) for name in methods}
    if truths:
        scores[GROUND_TRUTH] = np.stack([_exact(run) for run in own])
        expected = np.mean([_exact(run) for run in others], axis=0)
    noisy = own[0].splits.noisy.cpu().numpy()
    rows: list[dict[str, Any]] = []
    for name, found in scores.items():
        for k in _counts(runs):
            means = [np.take(found, range(first, first + k), 0, mode="wrap").mean(0) for first in range(runs)]
            row: dict[str, Any] = {
                "method": name,
                "k": k,
                "auc": float(np.mean([metrics.noise_auc(mean, noisy) for mean in means])),
            }
            if truths:
                row["spearman"] = float(np.mean([_spearman(mean, expected) for mean in means]))
            rows.append(row)
    groups = [
        torch.from_numpy(np.sort(np.argsort(scores[row["method"]][: row["k"]].mean(0), kind="stable")[: noisy.sum()]))
        for row in rows
    ]
    for column, run in (("own", own[0]), ("other", others[0])):
        for row, gain in zip(rows, _gains(run, groups), strict=True):
            row[column] = gain
    return pd.DataFrame(rows)


def _counts(runs: int) -> list[int]:
    """1, 2, 4 …, and all."""
    return sorted({2**i for i in range(runs.bit_length()) if 2**i <= runs} | {runs})


def _score(run: Run, method: str) -> np.ndarray:
    found: np.ndarray = influence_score(run, method, halves(run)[0]).double().cpu().numpy()
    return found


def _exact(run: Run) -> np.ndarray:
    found: np.ndarray = whole(leave_one_out(run)).effects(halves(run)[0]).mean(1).double().cpu().numpy()
    return found


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    return float(metrics.spearman_per_query(a[:, None], b[:, None])[0])


def _gains(run: Run, groups: Sequence[torch.Tensor]) -> list[float]:
    """How much the accuracy rises when each group is left out and the run retrained."""
    held_out = halves(run)[1]
    before = run.accuracy(held_out)
    return [run.accuracy(held_out, omega) - before for omega in whole(retraining_truth(run, groups)).parameters]


CASES = {
    "beyond": [Case(case.workload, {}, {"runs": RUNS, "methods": METHODS, "truths": True}) for case in DESK],
    "real": [Case("mnist-mlp-full", {}, {"runs": RUNS, "methods": METHODS, "truths": False})],
}
