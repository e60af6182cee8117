"""At a fixed point of full-batch SAM, and away from one: the infinitesimal implicit form and its Newton step.

The step is taken where it is refused too: what it would have lost there is why.
"""

from typing import Any

import pandas as pd
import torch
from torch import Tensor

from baselines import metrics
from baselines.studies.cases import Case, over
from baselines.truth import Truth, leave_one_out
from samattr_ref.attribution import attribute, parameter_change
from samattr_ref.implicit.newton import NewtonStep, loss_changes
from samattr_ref.implicit.options import ImplicitOptions
from samattr_ref.methods.sam_hif_implicit import FORM
from samattr_ref.run import Run
from samattr_ref.support.errors import SamattrError
from samattr_ref.training import train
from samattr_ref.workload import Workload

STEPS = (30, 100, 300, 1000, 3000, 10000)
NEWTON_STEP = "Newton step"
FORMS = (("if", ""), ("sam-if", ""), ("sam-hif", ""), ("sam-hif-implicit", ""), ("sam-hif-implicit", NEWTON_STEP))
"""Methods, and how each is used."""

UNKNOWN = {"newton_adds": float("nan"), "newton_left": float("nan")}
FULL_BATCH = {"batch_size": None, "learning_rate": 1.0, "n_removed": 60}
SGD = {"n_removed": 100}


def measure(workload: Workload, steps: int) -> pd.DataFrame:
    """Every form without damping, on a run of so many steps."""
    run = train(workload.override(steps=steps))
    truth = leave_one_out(run)
    true, changes = truth.values.cpu().numpy(), truth.changes.cpu().numpy()
    norm = float(torch.linalg.vector_norm(run.gradient(run.parameters)))
    rows: list[dict[str, Any]] = []
    for name, how in FORMS:
        row: dict[str, Any] = {"method": name, "how": how, "grad_norm": norm, "status": "ok"} | UNKNOWN
        try:
            change, scores, reach = _newton(run, truth) if how == NEWTON_STEP else _infinitesimal(run, truth, name)
        except SamattrError as error:
            rows.append(row | {"status": str(error)})
            continue
        predicted = scores.cpu().numpy()
        row["slope"] = metrics.slope(predicted, true)
        row["error"] = metrics.relative_error(change.cpu().numpy(), changes)
        row["spearman"] = float(metrics.spearman_per_query(predicted, true).mean())
        rows.append(row | reach)
    kind = "full batch" if workload.recipe.batch_size is None else "minibatches"
    return pd.DataFrame(rows).assign(steps=steps, kind=kind)


def _newton(run: Run, truth: Truth) -> tuple[Tensor, Tensor, dict[str, float]]:
    """Δ and scores of removed points, and what the step adds and was left of it, whether it is offered or not."""
    newton = NewtonStep(run, FORM, ImplicitOptions())
    change = newton.change(truth.removed.tolist())
    return change, loss_changes(run, run.workload.queries, change), newton.reach()


def _infinitesimal(run: Run, truth: Truth, name: str) -> tuple[Tensor, Tensor, dict[str, float]]:
    return parameter_change(run, name, truth.groups), attribute(run, name).values[truth.removed], {}


CASES = {
    "beyond": [
        *over([Case("digits-logreg", FULL_BATCH)], "steps", STEPS),
        *over([Case("digits-logreg", SGD)], "steps", STEPS),
    ]
}
