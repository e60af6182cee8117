"""What Influence Scores made on one validation set are worth on another."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import scipy.stats
import torch
from torch import Tensor

from baselines.diverged import whole
from baselines.studies.agreement import chosen_options
from baselines.studies.cases import Case
from baselines.studies.edit import group_of
from baselines.studies.shifts import shifted
from baselines.truth import leave_one_out, retraining_truth
from baselines.validation import GROUND_TRUTH
from samattr_ref.attribution import influence_score
from samattr_ref.data import Examples
from samattr_ref.training import train
from samattr_ref.workload import Workload

COMPARED = (
    GROUND_TRUTH,
    "sam-hif-implicit",
    "sam-if",
    "sam-hif",
    "sam-hif-fast",
    "sam-gif",
    "if",
    "tracin-cp",
    "random",
)
REMOVED = 0.1


SHIFTS = ("classes", "noise", "brightness", "negative")


def shift_check(workload: Workload, shifts: Sequence[str]) -> pd.DataFrame:
    """Scores before and after shifts of the validation set.

    One half of the validation set is scored on, the other measures accuracy.

    Returns:
        Rows `method`, `shift`: `rank_agreement` (Spearman over training points of the method's scores before with
        after), `loo_before` and `loo_after` (of its scores before and after with exact LOO after), `accuracy` after the
        shift with nothing removed, and what removing the lowest tenth by scores before or after adds to it:
        `gain_before`, `gain_after`.
    """
    run = train(workload)
    truth = whole(leave_one_out(run))
    scored, tested = _halves(run.splits.validation)

    def scores(method: str, validation: Examples) -> Tensor:
        if method == GROUND_TRUTH:
            influence = torch.full((run.n_train,), torch.nan, dtype=torch.float64)
            influence[truth.removed] = truth.effects(validation).mean(1).double().cpu()
            return influence
        return influence_score(run, method, validation, **chosen_options(method, workload)).double().cpu()

    before = {name: scores(name, scored) for name in COMPARED}
    rows: list[dict[str, Any]] = []
    tests: list[Examples] = []
    groups: list[Tensor] = []
    for shift in shifts:
        n_classes, seed = run.splits.n_classes, workload.seed
        after_set = shifted(scored, shift, n_classes, seed)
        test_set = shifted(tested, shift, n_classes, seed + 1)
        exact = scores(GROUND_TRUTH, after_set)
        for name in COMPARED:
            after = scores(name, after_set)
            rows.append(
                {
                    "method": name,
                    "shift": shift,
                    "rank_agreement": float(scipy.stats.spearmanr(before[name], after).statistic),
                    "loo_before": float(scipy.stats.spearmanr(before[name], exact).statistic),
                    "loo_after": float(scipy.stats.spearmanr(after, exact).statistic),
                    "accuracy": run.accuracy(test_set),
                }
            )
            tests.append(test_set)
            groups += [group_of(run, "least", REMOVED, value).sort().values for value in (before[name], after)]
    retrained = whole(retraining_truth(run, groups)).parameters
    for i, (row, test_set) in enumerate(zip(rows, tests, strict=True)):
        for name, omega in zip(("gain_before", "gain_after"), retrained[2 * i : 2 * i + 2], strict=True):
            row[name] = run.accuracy(test_set, omega) - row["accuracy"]
    return pd.DataFrame(rows)


def _halves(examples: Examples) -> tuple[Examples, Examples]:
    first, second = torch.arange(len(examples.y), device=examples.y.device).tensor_split(2)
    return examples.take(first), examples.take(second)


CASES = {
    "desk": [
        Case("digits-mlp", {"n_validation": 600}, {"shifts": SHIFTS}),
        Case("fashion-logreg", {"n_validation": 1000}, {"shifts": SHIFTS}),
    ]
}
