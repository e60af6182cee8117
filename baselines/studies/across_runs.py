"""The noise floor: what the effect of a point in one run says about its effect in another run of the same training."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd

from baselines.diverged import whole
from baselines.metrics import spearman_per_query
from baselines.studies.cases import Case
from baselines.truth import leave_one_out
from baselines.validation import on_removed
from samattr_ref.attribution import attribute
from samattr_ref.training import train
from samattr_ref.workload import Workload

RUNS = 6
KINDS = ("same run", "other run", "other runs")
"""Whose effects are told: the run's own, another's, the mean of the others'."""


def measure(workload: Workload, runs: int) -> pd.DataFrame:
    """Exact effects and exact derivatives of several runs over the same points, each held against the others' truth."""
    truths = [whole(leave_one_out(train(replace(workload, training_seed=seed)))) for seed in range(runs)]
    true = [truth.values.double().cpu().numpy() for truth in truths]
    derivatives = [on_removed(attribute(truth.run, "sam-unrolled").values, truth) for truth in truths]
    rows = []
    for name, effects in (("loo", true), ("sam-unrolled", derivatives)):
        same = [_agreement(effects[i], true[i]) for i in range(runs)]
        other = [_agreement(effects[i], true[j]) for i, j in itertools.permutations(range(runs), 2)]
        rest = [_agreement(effects[i], np.mean([true[j] for j in range(runs) if j != i], axis=0)) for i in range(runs)]
        for kind, values in zip(KINDS, (same, other, rest), strict=True):
            rows.append({"method": name, "kind": kind, "spearman": float(np.mean(values))})
    return pd.DataFrame(rows)


def _agreement(predicted: np.ndarray, true: np.ndarray) -> float:
    return float(spearman_per_query(predicted, true).mean())


CASES = {
    "beyond": [
        Case("digits-logreg", {"n_removed": 100}, {"runs": RUNS}),
        Case("digits-mlp", {"n_removed": 100}, {"runs": RUNS}),
    ]
}
