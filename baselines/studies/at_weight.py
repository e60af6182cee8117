"""Random subsets of up to most of the points: where the derivative of the run says most of them."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from baselines import metrics
from baselines.measure import measured
from baselines.studies.agreement import chosen_options
from baselines.studies.cases import DESK, Case, over
from baselines.studies.loo_and_lds import SUBSETS
from baselines.studies.plain import plain_training
from baselines.truth import subset_retraining
from samattr_ref.attribution import attribute
from samattr_ref.run import Run
from samattr_ref.scores import Scores
from samattr_ref.support.timing import Timing, noted
from samattr_ref.training import train
from samattr_ref.workload import Workload

FRACTIONS = (0.05, 0.1, 0.2, 0.5, 0.8)
THERE = "at w = 1 − α"
BOTH = "mean of w = 1 and w = 1 − α"
OTHERS = ("sam-gif", "tracin")


def measure(workload: Workload, fraction: float) -> pd.DataFrame:
    """LDS of the derivative at w = 1, at the weight about which the subsets lie, and of the mean of the two.

    Returns:
        Rows `method`, `how`: `fraction`, `lds`, its mean over queries; `trainings`, seconds over those of one plain
        training; `load` and `disturbed` of these, see `samattr_ref.support.timing`.
    """
    run = train(workload)
    truth = subset_retraining(run, fraction, SUBSETS, seed=workload.seed)
    groups, true = [group.numpy() for group in truth.groups], truth.values.double().cpu().numpy()
    plain = plain_training(run)
    values: dict[tuple[str, str], np.ndarray] = {}
    costs: dict[tuple[str, str], Timing] = {}
    ways: list[tuple[str, str, dict[str, Any]]] = [
        ("sam-unrolled", "", {}),
        ("sam-unrolled", THERE, {"weight": 1 - fraction}),
        *((method, "", chosen_options(method, workload)) for method in OTHERS),
    ]
    for method, how, options in ways:
        scores, cost = measured(partial(_scores, run, method, options))
        values[method, how], costs[method, how] = scores.values.double().cpu().numpy(), cost
    one, there = ("sam-unrolled", ""), ("sam-unrolled", THERE)
    values["sam-unrolled", BOTH] = (values[one] + values[there]) / 2
    costs["sam-unrolled", BOTH] = costs[one] + costs[there]
    return pd.DataFrame(
        [
            {
                "method": method,
                "how": how,
                "fraction": fraction,
                "lds": float(metrics.linear_datamodelling_score(found, groups, true).mean()),
                "trainings": costs[method, how].seconds / plain.seconds,
                **noted(costs[method, how], plain),
            }
            for (method, how), found in values.items()
        ]
    )


def _scores(run: Run, method: str, options: dict[str, Any]) -> Scores:
    return attribute(run.fresh(), method, run.workload.queries, **options)


CASES = {
    "beyond": over(DESK, "fraction", FRACTIONS),
    "real": [Case("mnist-mlp-full", {}, {"fraction": 0.5})],
}
