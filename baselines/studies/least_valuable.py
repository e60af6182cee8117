"""Training without the points of lowest Influence Score: does accuracy rise, and as much as without the wrong labels?

Points are scored on one half of the validation set, and accuracy is measured on the other: a score that has merely
learnt its validation points gains nothing there.
"""

from typing import Any

import pandas as pd
import torch
from torch import Tensor

from baselines.diverged import whole
from baselines.studies.agreement import chosen_options
from baselines.studies.cases import DESK, Case
from baselines.studies.edit import group_of
from baselines.truth import leave_one_out, retraining_truth
from baselines.validation import GROUND_TRUTH
from samattr_ref.attribution import influence_score
from samattr_ref.data import Examples
from samattr_ref.registry import methods
from samattr_ref.run import Run
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.seeds import stream
from samattr_ref.training import train
from samattr_ref.workload import Workload

SHARES = (0.02, 0.05, 0.1, 0.15, 0.2)
WRONG = "wrong-labels"
"""The points whose labels are wrong, which no method is told of: as good as removal can be expected to be."""


def measure(workload: Workload) -> pd.DataFrame:
    """Accuracy of the network retrained without each method's lowest-scored points, and without those really wrong.

    Returns:
        Rows `method`, `share` (from 0, the run itself): `accuracy` on the second half of the validation set; `wrong`,
        the share of the removed points whose labels are wrong; `status`.
    """
    run = train(workload)
    scored, held_out = halves(run)
    chance = torch.rand(run.n_train, generator=stream(workload.seed, "wrong labels first"))
    values: dict[str, Tensor] = {WRONG: chance - 2 * run.splits.noisy.cpu().float()}
    failed: list[dict[str, Any]] = []
    if workload.n_removed is None:
        values[GROUND_TRUTH] = whole(leave_one_out(run)).effects(scored).mean(1)
    for name in methods():
        try:
            values[name] = influence_score(run, name, scored, **chosen_options(name, workload))
        except SamattrError as error:
            failed.append({"method": name, "status": str(error)})
    before = run.accuracy(held_out)
    rows = [{"method": name, "share": 0.0, "accuracy": before, "wrong": 0.0, "status": "ok"} for name in values]
    removals = [
        (name, share, group_of(run, "least", share, value)) for name, value in values.items() for share in SHARES
    ]
    retrained = whole(retraining_truth(run, [group.sort().values for _, _, group in removals])).parameters
    for (name, share, group), omega in zip(removals, retrained, strict=True):
        found = {"accuracy": run.accuracy(held_out, omega), "wrong": _wrong(run, group), "status": "ok"}
        rows.append({"method": name, "share": share, **found})
    return pd.DataFrame([*rows, *failed])


def halves(run: Run) -> tuple[Examples, Examples]:
    """The validation points that scores are taken for, and those that accuracy is measured on."""
    even = torch.arange(len(run.splits.validation)) % 2 == 0
    scored, held_out = (run.splits.validation.take(half.to(run.train.y.device)) for half in (even, ~even))
    return scored, held_out


def _wrong(run: Run, group: Tensor) -> float:
    return float(run.splits.noisy.cpu()[group].double().mean())


CASES = {"desk": list(DESK), "real": [Case("mnist-mlp-full")]}
