"""Removing the tenth of the training points that each method values most: retrained and edited accuracy."""

from typing import Any

import numpy as np
import pandas as pd
import torch

from baselines.diverged import whole
from baselines.studies.agreement import chosen_options
from baselines.studies.cases import DESK, PAPER, THREE, Case
from baselines.studies.edit import edit, group_of
from baselines.truth import leave_one_out, retraining_truth
from baselines.validation import GROUND_TRUTH
from samattr_ref.attribution import influence_score
from samattr_ref.registry import get_method, methods
from samattr_ref.support.errors import SamattrError
from samattr_ref.training import train
from samattr_ref.workload import Workload

FRACTION = 0.1


def measure(workload: Workload) -> pd.DataFrame:
    """Accuracy on the validation set without each method's most valuable points, by retraining and by its own edit."""
    run = train(workload)
    groups, options = {}, {}
    if workload.n_removed is None:
        groups[GROUND_TRUTH] = group_of(run, "most", FRACTION, whole(leave_one_out(run)).influence)
    for name in methods():
        options[name] = chosen_options(name, workload)
        value = influence_score(run, name, run.splits.validation, **options[name])
        groups[name] = group_of(run, "most", FRACTION, value)
    validation, test = run.splits.validation, run.splits.queries
    base, base_test = run.accuracy(validation), run.accuracy(test)
    rows = []
    retrained = whole(retraining_truth(run, [group.sort().values for group in groups.values()])).parameters
    for (name, group), omega in zip(groups.items(), retrained, strict=True):
        drop = base - run.accuracy(validation, omega)
        row: dict[str, Any] = {"method": name, "accuracy": base, "retrained_drop": drop}
        row["test_drop"] = base_test - run.accuracy(test, omega)
        if name != GROUND_TRUTH and get_method(name).change is not None:
            try:
                edited = edit(run, name, [group], options[name])[0]
            except SamattrError:
                edited = torch.full_like(omega, torch.nan)
            row["edited_drop"] = base - run.accuracy(validation, edited) if edited.isfinite().all() else np.nan
            row["difference"] = drop - row["edited_drop"]
        rows.append(row)
    return pd.DataFrame(rows)


CASES = {
    "desk": [
        *DESK,
        Case("cifar10-cnn", {"n_train": 200, "channels": (4, 8), "steps": 200, "n_validation": 1000}),
    ],
    "real": [Case("mnist-mlp-full", seeds=THREE)],
    "paper": PAPER,
}
