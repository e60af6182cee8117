"""Fidelity of several methods on one run: agreement with exact leave-one-out, LDS, and cost in plain trainings."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from baselines import metrics
from baselines.agreement import chosen_options
from baselines.measure import measured
from baselines.plain import plain_seconds
from baselines.truth import leave_one_out, subset_retraining
from baselines.validation import warm_up
from samattr_ref.attribution import attribute
from samattr_ref.support.errors import SamattrError
from samattr_ref.training import train
from samattr_ref.workload import Workload


def fidelity(
    workload: Workload,
    methods: Sequence[str],
    fractions: Sequence[float],
    subsets: int,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> pd.DataFrame:
    """Each method against exact retraining without single points and without subsets.

    Args:
        workload: The workload.
        methods: The methods.
        fractions: Shares of the training points that subsets leave out, for the LDS.
        subsets: Subsets a fraction.
        options: Options by method, where they are not to be chosen as everywhere.

    Returns:
        Rows `method`: `spearman`, `pearson`, `slope` with leave-one-out, `lds_{fraction}` (means over queries),
        `seconds` (all points and queries), `trainings` (seconds over those of one plain training), `mean_trainings`
        (for the mean query alone), `status`.
    """
    run = train(workload)
    truth = leave_one_out(run)
    true = truth.values.double().cpu().numpy()
    subset_truths = [subset_retraining(run, fraction, subsets, seed=workload.seed) for fraction in fractions]
    warm_up(run)
    plain = plain_seconds(run)
    rows = []
    for name in methods:
        row: dict[str, Any] = {"method": name, "status": "ok"}
        chosen = (options or {}).get(name)
        try:
            chosen = chosen_options(name, workload) if chosen is None else chosen
            with measured() as mean_cost:
                attribute(run.fresh(), name, workload.queries.pool(), **chosen)
            with measured() as cost:
                scores = attribute(run.fresh(), name, workload.queries, **chosen)
        except SamattrError as error:
            rows.append(row | {"status": str(error)})
            continue
        values = scores.values.double().cpu().numpy()
        predicted = values[truth.removed.numpy()]
        row |= {
            "spearman": float(metrics.spearman_per_query(predicted, true).mean()),
            "pearson": float(metrics.pearson_per_query(predicted, true).mean()),
            "slope": metrics.slope(predicted, true),
            "seconds": cost.runtime_s,
            "trainings": cost.runtime_s / plain,
            "mean_trainings": mean_cost.runtime_s / plain,
        }
        for fraction, subset in zip(fractions, subset_truths, strict=True):
            groups = [group.numpy() for group in subset.groups]
            effects = subset.values.double().cpu().numpy()
            row[f"lds_{fraction}"] = float(metrics.linear_datamodelling_score(values, groups, effects).mean())
        rows.append(row)
    return pd.DataFrame(rows)
