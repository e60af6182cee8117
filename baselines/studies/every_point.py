"""Methods on training sets of full size: time, memory, wrong labels found, and agreement with what LOO can be had."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from baselines import metrics
from baselines.comparison import INSPECTED
from baselines.measure import measured, most_resident_bytes
from baselines.studies.cases import Case
from baselines.truth import leave_one_out
from baselines.validation import GROUND_TRUTH
from samattr_ref.attribution import influence_score
from samattr_ref.registry import methods
from samattr_ref.run import Run
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.timing import Timing, noted
from samattr_ref.training import train
from samattr_ref.workload import Workload

METHODS: dict[str, dict[str, Any]] = {
    name: dict(method.full_size) for name, method in methods().items() if method.full_size is not None
}
"""The methods that training sets of full size are within reach of, with their options there."""


def full_size(workload: Workload, methods: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The Influence Scores of every training point, by each method with its options.

    Args:
        workload: The workload; exact LOO of the points that it removes is made last.
        methods: Options by method.

    Returns:
        Rows `method` (`training` and `loo` among them): `seconds`, with `load` and `disturbed` (see
        `samattr_ref.support.timing`), `process_bytes` (the most that the process has held until then), `auc` and
        `found` (wrong labels), `spearman_mean_query`, `n_removed`, `status`.
    """
    run = train(workload)
    noisy = run.splits.noisy.cpu().numpy()
    accuracy = run.accuracy(run.splits.validation)
    rows = [_row({"method": "training"}, run.timing)]
    influence: dict[str, np.ndarray] = {}
    for name, options in methods.items():
        row: dict[str, Any] = {"method": name, "status": "ok"}
        try:
            scores, cost = measured(partial(_influence, run, name, options))
            influence[name] = scores.double().cpu().numpy()
            row["auc"] = metrics.noise_auc(influence[name], noisy)
            row["found"] = metrics.found_share(influence[name], noisy, INSPECTED)
            rows.append(_row(row, cost))
        except SamattrError as error:
            rows.append(_row(row | {"status": str(error)}, Timing(np.nan, None)))
    truth = leave_one_out(run)
    true = truth.influence[truth.removed].double().cpu().numpy()[:, None]
    for row in rows:
        if row["method"] in influence:
            predicted = influence[row["method"]][truth.removed.numpy()][:, None]
            row["spearman_mean_query"] = float(metrics.spearman_per_query(predicted, true)[0])
    rows.append(_row({"method": GROUND_TRUTH}, truth.timing))
    return pd.DataFrame(rows).assign(n_removed=len(truth.groups), accuracy=accuracy)


def _influence(run: Run, name: str, options: Mapping[str, Any]) -> Tensor:
    return influence_score(run.fresh(), name, run.splits.validation, **options)


def _row(row: dict[str, Any], timing: Timing) -> dict[str, Any]:
    return row | {"seconds": timing.seconds, "process_bytes": most_resident_bytes(), **noted(timing)}


def _without(*names: str) -> dict[str, dict[str, Any]]:
    return {name: options for name, options in METHODS.items() if name not in names}


CASES = {
    "large": [
        Case(
            "mnist-mlp",
            {"n_train": 60000, "steps": 1500, "n_removed": 20},
            {"methods": _without("sam-hif-implicit", "sam-hif")},
        ),
        Case(
            "cifar10-cnn",
            {"n_train": 5000, "steps": 400, "n_removed": 10},
            {"methods": _without("sam-hif-implicit")},
        ),
        Case("cifar10-resnet9", {"n_removed": 2}, {"methods": _without("sam-hif-implicit", "sam-hif")}),
    ],
    "real": [Case("mnist-mlp-full", {}, {"methods": _without("sam-hif-implicit", "sam-hif")})],
    "paper": [
        Case("mnist-mlp", {"n_train": 60000, "steps": 6000, "n_removed": 100}, {"methods": METHODS}),
        Case("cifar10-cnn", {"n_train": 50000, "steps": 10000, "n_removed": 100}, {"methods": METHODS}),
        Case(
            "cifar10-resnet9",
            {"n_train": 50000, "steps": 10000, "width": 64, "n_removed": 50},
            {"methods": METHODS},
        ),
        Case("cifar100-cnn", {"n_train": 50000, "steps": 10000, "n_removed": 50}, {"methods": METHODS}),
    ],
}
