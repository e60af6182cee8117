"""How well a method agrees with exact retraining in one cell of an experiment: a few numbers, without intervals.

Intervals of experiments are over seeds; `baselines.validation` is the full comparison of one method.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from baselines.comparison import Comparison, metrics_within
from baselines.diverged import lost
from baselines.keys import is_ours, method_digest, metrics_digest, workload_digest
from baselines.studies.cases import LARGE
from baselines.truth import Truth, leave_one_out
from baselines.validation import GROUND_TRUTH, on_removed, validate
from samattr_ref.attribution import attribute, influence_score
from samattr_ref.marks import marks_of
from samattr_ref.registry import get_method
from samattr_ref.run import Run
from samattr_ref.solvers.dense import DENSE_LIMIT
from samattr_ref.support import store
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.seeds import json_digest, tensor_digest
from samattr_ref.support.source import reach
from samattr_ref.training import train
from samattr_ref.workload import Workload

UNTUNED = {"curvature": "gauss-newton", "damping": 0.03, "tolerance": 1e-2}
"""Options where a network is too large to choose them: a solve for every candidate and query would take hours."""

WHOLE = 20_000
"""Training points from which on a single solve takes long."""


def chosen_options(method: str, workload: Workload) -> dict[str, Any]:
    """The options that a method runs with on a workload and on its variants.

    Up to `DENSE_LIMIT` parameters, those that the full validation of the workload chose on held-out queries (found on
    disk where it was done before); for larger networks `UNTUNED`. From `WHOLE` training points on, `LARGE`, the
    same series for all implicit methods, and for others what their registrations give for training sets of full size.
    """
    chosen = get_method(method)
    if len(workload.splits.train) >= WHOLE:
        return chosen.having(LARGE) or dict(chosen.full_size or {})
    grid = chosen.tune
    if not grid:
        return {}
    if len(workload.build()[1]) > DENSE_LIMIT:
        return chosen.having(UNTUNED)
    options = validate(method, workload).diagnostics["options"]
    return {name: options[name] for name in grid}


def agreement(truth: Truth, method: str, options: Mapping[str, Any], run: Run | None = None) -> dict[str, Any]:
    """One method against the ground truth of a run, from the store where an experiment has asked before.

    Args:
        truth: Leave-one-out effects.
        method: A method's name, or `loo` for what exact effects themselves reach.
        options: The method's options.
        run: The run that the method is given, where it is not the truth's own.

    Returns:
        The metrics of such results (`spearman`, `pearson`, `slope`, `spearman_mean_query`, `noise_auc`, `noise_found`;
        means over queries), `status` (`ok`, or why there are no numbers), `marks` (the reasons to mark them, as one
        text, see `samattr_ref.marks`), and the solver's `residual`, `grad_norm` and `rho_over_grad_norm` where there
        are any.
    """
    run = run or truth.run
    chosen = None if method == GROUND_TRUTH else get_method(method)
    if chosen and not is_ours(chosen):
        return _agreement(truth, method, options, run)
    keys = [workload_digest(given.workload) for given in (truth.run, run)]
    code = [reach(__name__).digest, metrics_digest(), *([method_digest(chosen)] if chosen else [])]
    path = store.folder("agreements", json_digest([keys, tensor_digest(run.parameters), method, dict(options), code]))
    stored = store.load(path, "agreement")
    if stored is None:
        found = _agreement(truth, method, options, run)
        store.save(path, "agreement", found)
        return found
    return stored[0]


def _agreement(truth: Truth, method: str, options: Mapping[str, Any], run: Run) -> dict[str, Any]:
    true = truth.values.double().cpu().numpy()
    try:
        predicted, influence, diagnostics = _scores(truth, method, options, run)
    except SamattrError as error:
        return {"status": str(error)}
    noisy = truth.run.splits.noisy.cpu().numpy()
    scored = np.isfinite(influence)
    comparison = Comparison(predicted, true, influence[scored], noisy[scored])
    found: dict[str, Any] = {metric.name: metric.mean_of(comparison) for metric in metrics_within("agreement")}
    found |= {"status": "ok", "marks": "; ".join(marks_of({**diagnostics, "truth": lost(truth)}))}
    return found | {name: diagnostics.get(name) for name in ("residual", "grad_norm", "rho_over_grad_norm")}


def _scores(
    truth: Truth, method: str, options: Mapping[str, Any], run: Run
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Predicted effects [n_removed, n_query], Influence Scores [n_train] (NaN where unknown) and diagnostics."""
    validation = run.splits.validation
    if method == GROUND_TRUTH:
        return truth.values.double().cpu().numpy(), truth.influence.double().cpu().numpy(), {}
    scores = attribute(run, method, truth.run.splits.queries, **options)
    influence = influence_score(run, method, validation, **options)
    return (
        on_removed(scores.values, truth),
        influence.double().cpu().numpy(),
        scores.diagnostics,
    )


def sweep(
    base: Workload, methods: Sequence[str], varied: Workload | None = None, extra: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """`agreement` of several methods on a variant of a workload, with the options that the workload itself chose.

    Args:
        base: The workload that options are chosen on.
        methods: Methods, `loo` among them or not.
        varied: The variant; by default the workload itself.
        extra: Options that are set apart, for every method that has them.

    Returns:
        One row a method.
    """
    truth = leave_one_out(train(varied or base))
    rows = []
    for name in methods:
        options: dict[str, Any] = {}
        if name != GROUND_TRUTH:
            options = chosen_options(name, base)
            options |= get_method(name).having(extra or {})
        rows.append({"method": name, **agreement(truth, name, options)})
    return rows
