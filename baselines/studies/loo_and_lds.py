"""Fidelity of several methods on one run: agreement with exact leave-one-out, LDS, and cost in plain trainings."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from baselines import metrics
from baselines.comparison import Comparison, metrics_within
from baselines.diverged import lost
from baselines.measure import measured
from baselines.studies.agreement import chosen_options
from baselines.studies.cases import LARGE, Case
from baselines.studies.chosen import not_of_family, of_family, options_by_method
from baselines.studies.plain import plain_training
from baselines.truth import leave_one_out, subset_retraining
from baselines.validation import warm_up
from samattr_ref.attribution import attribute
from samattr_ref.data import Examples
from samattr_ref.marks import marks_of
from samattr_ref.registry import Family, methods
from samattr_ref.run import Run
from samattr_ref.scores import Scores
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.timing import noted
from samattr_ref.training import train
from samattr_ref.workload import Workload

FRACTIONS = (0.01, 0.1)
SUBSETS = 50
HESSIAN = of_family(Family.IMPLICIT)
CNN = {"n_train": 1000, "n_query": 20, "channels": (8, 16), "steps": 200, "schedule": "cosine", "n_removed": 100}
SMALL = (Case("digits-logreg"), Case("digits-mlp"))
IMAGES = (Case("mnist-mlp", {"n_query": 20}), Case("cifar10-cnn", CNN))
OTHERS = not_of_family(Family.IMPLICIT)


def fidelity(
    workload: Workload,
    names: Sequence[str],
    fractions: Sequence[float],
    subsets: int,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> pd.DataFrame:
    """Each method against exact retraining without single points and without subsets.

    Args:
        workload: The workload.
        names: The methods.
        fractions: Shares of the training points that subsets leave out, for the LDS.
        subsets: Subsets a fraction.
        options: Options by method, where they are not to be chosen as everywhere.

    Returns:
        Rows `method`: the metrics of such results (`spearman`, `pearson`, `slope`) with leave-one-out, `lds_{fraction}`
        (means over queries), `seconds` (all points and queries), `trainings` (seconds over those of one plain
        training), `mean_trainings` (for the mean query alone), `load` and `disturbed` of these (see
        `samattr_ref.support.timing`), `status`, `marks` (see `agreement`).
    """
    run = train(workload)
    truth = leave_one_out(run)
    true = truth.values.double().cpu().numpy()
    subset_truths = [subset_retraining(run, fraction, subsets, seed=workload.seed) for fraction in fractions]
    warm_up(run)
    plain = plain_training(run)
    rows = []
    for name in names:
        row: dict[str, Any] = {"method": name, "status": "ok"}
        chosen = (options or {}).get(name)
        try:
            chosen = chosen_options(name, workload) if chosen is None else chosen
            _, mean_cost = measured(partial(_scores, run, name, workload.queries.pool(), chosen))
            scores, cost = measured(partial(_scores, run, name, workload.queries, chosen))
        except SamattrError as error:
            rows.append(row | {"status": str(error)})
            continue
        values = scores.values.double().cpu().numpy()
        comparison = Comparison(values[truth.removed.numpy()], true)
        row |= {metric.name: metric.mean_of(comparison) for metric in metrics_within("fidelity")}
        row |= {
            "seconds": cost.seconds,
            "trainings": cost.seconds / plain.seconds,
            "mean_trainings": mean_cost.seconds / plain.seconds,
            **noted(cost, mean_cost, plain),
        }
        for fraction, subset in zip(fractions, subset_truths, strict=True):
            groups = [group.numpy() for group in subset.groups]
            effects = subset.values.double().cpu().numpy()
            row[f"lds_{fraction}"] = float(metrics.linear_datamodelling_score(values, groups, effects).mean())
        row["marks"] = "; ".join(marks_of({**scores.diagnostics, "truth": lost(truth, *subset_truths)}))
        rows.append(row)
    return pd.DataFrame(rows)


def _scores(run: Run, name: str, queries: Examples, options: Mapping[str, Any]) -> Scores:
    return attribute(run.fresh(), name, queries, **options)


def measure(
    workload: Workload,
    method: str,
    fractions: Sequence[float],
    subsets: int,
    options: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """One method against leave-one-out and against subset retraining."""
    given = None if options is None else {method: options}
    return fidelity(workload, [method], fractions, subsets, given)


def _cases(
    cases: Sequence[Case],
    names: Sequence[str],
    options: Mapping[str, Any] | None,
    fractions: Sequence[float] = FRACTIONS,
) -> list[Case]:
    arguments = {"fractions": fractions, "subsets": SUBSETS}
    given = {} if options is None else options_by_method(names, options)
    return [
        Case(case.workload, case.settings, {**arguments, "method": name, **({"options": given[name]} if given else {})})
        for case in cases
        for name in names
    ]


KEPT_FRACTIONS, CIFAR_FRACTIONS = (0.01, 0.05, 0.1, 0.5), (0.05,)
"""The shares of which ground truth is kept for whole data sets, see `baselines.kept`."""

WHOLE = (Case("mnist-mlp-full"),)
CIFAR = (Case("cifar10-cnn-norm-20000"),)
"""Of the implicit methods SAM-IF alone is held there: a series takes ten products with all points for each query."""

RIVALS = ("trak", "ekfac")
"""Methods of other libraries, which the project does not install."""

CASES = {
    "beyond": [*_cases(SMALL, list(methods()), None), *_cases(IMAGES, OTHERS, None), *_cases(IMAGES, HESSIAN, LARGE)],
    "real": [
        *_cases(WHOLE, [*OTHERS, *RIVALS], None, KEPT_FRACTIONS),
        *_cases(WHOLE, HESSIAN, LARGE, KEPT_FRACTIONS),
        *_cases(CIFAR, [*OTHERS, *RIVALS], None, CIFAR_FRACTIONS),
        *_cases(CIFAR, ["sam-if"], LARGE, CIFAR_FRACTIONS),
    ],
}
