"""Edits held against retraining: accuracy, direction, size and cost, group by group.

On a whole data set a single method's edits take minutes to an hour: each is a cell of its own there, so that a run that
is stopped goes on after the last one.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from baselines.diverged import whole
from baselines.keys import method_digest
from baselines.measure import measured
from baselines.studies.agreement import chosen_options
from baselines.studies.cases import PAPER, THREE, Case
from baselines.studies.edit import edit, group_of
from baselines.truth import Truth, leave_one_out, retraining_truth
from samattr_ref.attribution import influence_score
from samattr_ref.registry import get_method, methods
from samattr_ref.run import Run
from samattr_ref.support import store
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.seeds import json_digest, tensor_digest
from samattr_ref.support.source import reach
from samattr_ref.support.timing import Timing, noted
from samattr_ref.training import train
from samattr_ref.workload import Workload

RETRAINED, NO_EDIT = "retrained", "no-edit"
UNEDITED = (RETRAINED, NO_EDIT)
"""What edits are held against."""

IN_PARTS = "in parts"
SEQUENTIAL = ("sam-hif-implicit",)
"""The methods that are also edited in parts."""

VALUED = "sam-if"
"""Whose Influence Score is a point's value where not every point's exact effect is known."""

KINDS = ("random", "most", "least")
FRACTIONS = (0.01, 0.05, 0.1, 0.2, 0.4)
CNN = {"n_train": 200, "channels": (4, 8), "steps": 200, "n_validation": 1000}


def edits(
    workload: Workload,
    kinds: Sequence[str],
    fractions: Sequence[float],
    parts: int,
    names: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Every method's edit of every group, beside retraining and no edit at all.

    Args:
        workload: The workload.
        kinds: `random`, `most`, `least`, see `baselines.studies.edit.group_of`.
        fractions: Shares of the training points to remove.
        parts: Parts of the sequential edits; 1 leaves them out.
        names: Methods, `retrained` and `no-edit` among them or not; by default both and every method that edits.

    Returns:
        Rows `method`, `how` (empty, or `IN_PARTS`), `kind`, `fraction`: `accuracy` on the validation set, `difference`
        from retraining, `loss_error` (|edited − retrained| mean validation loss), `cosine` and `size` (‖Δ̂‖/‖Δ‖) of
        the edit, `status`; `seconds` and `memory_bytes` of editing the first group alone, nothing computed before;
        `all_seconds` of editing all the groups, `edits` of them, at once; and `load` and `disturbed` of these, see
        `samattr_ref.support.timing`.
    """
    run = train(workload)
    value = value_of_points(run)
    named = [(kind, f, group_of(run, kind, f, value)) for kind in kinds for f in fractions]
    groups = [group for _, _, group in named]
    truth = whole(retraining_truth(run, [group.sort().values for group in groups]))
    names = (*UNEDITED, *editing_methods()) if names is None else names
    editors = [(name, 1) for name in names]
    editors += [(name, parts) for name in names if name in SEQUENTIAL and parts > 1]
    found = [(name, "" if count == 1 else IN_PARTS, *_edited(truth, name, groups, count)) for name, count in editors]
    rows = []
    for i, (kind, fraction, _) in enumerate(named):
        for name, how, edited, costs in found:
            row: dict[str, Any] = {
                "method": name,
                "how": how,
                "kind": kind,
                "fraction": fraction,
                "edits": len(groups),
            }
            outcome = {"status": edited} if isinstance(edited, str) else compare(run, edited[i], truth.parameters[i])
            rows.append(row | outcome | costs)
    return pd.DataFrame(rows)


def _edited(truth: Truth, name: str, groups: Sequence[Tensor], parts: int) -> tuple[Tensor | str, dict[str, Any]]:
    """The parameters without each of the groups, or why a method has none, and what they cost."""
    run = truth.run
    if name == NO_EDIT:
        return run.parameters.expand(len(groups), -1), _costs(Timing(0, 0), Timing(0, 0), 0)
    if name == RETRAINED:
        each = replace(truth.timing, seconds=truth.timing.seconds / (len(groups) + 1))
        every = replace(each, seconds=each.seconds * len(groups))
        return truth.parameters, _costs(each, every, truth.record["peak_memory_bytes"])
    options = chosen_options(name, run.workload)
    try:
        _, cost = measured(partial(_edit, run, name, groups[:1], options, parts))
        edited, all_cost = measured(partial(_edit, run, name, groups, options, parts))
    except SamattrError as error:
        return str(error), _costs(Timing(np.nan, None), Timing(np.nan, None), np.nan)
    return edited, _costs(cost, all_cost, cost.peak_memory_bytes)


def _edit(run: Run, name: str, groups: Sequence[Tensor], options: dict[str, Any], parts: int) -> Tensor:
    return edit(run.fresh(), name, groups, options, parts)


def _costs(one: Timing, every: Timing, memory_bytes: float) -> dict[str, Any]:
    return {"seconds": one.seconds, "all_seconds": every.seconds, "memory_bytes": memory_bytes, **noted(one, every)}


def editing_methods() -> tuple[str, ...]:
    """The methods that predict a change of the parameters."""
    return tuple(name for name, method in methods().items() if method.change is not None)


def value_of_points(run: Run) -> Tensor:
    """What the training points are worth, [n_train]: exact LOO on the validation set, or SAM-IF's Influence Score."""
    if run.workload.n_removed is None:
        return whole(leave_one_out(run)).influence
    options = chosen_options(VALUED, run.workload)
    code = [reach(__name__).digest, method_digest(get_method(VALUED))]
    validation = run.splits.validation
    asked = json_digest([tensor_digest(run.parameters, validation.x, validation.y), options, code])
    path, name = store.folder("runs", run.key), f"value-{asked[:24]}"
    if (stored := store.load(path, name)) is not None:
        return stored[1]["value"].to(run.parameters.device)
    value = influence_score(run, VALUED, validation, **options)
    store.save(path, name, {"method": VALUED, "options": options}, {"value": value})
    return value


def compare(run: Run, edited: Tensor, retrained: Tensor) -> dict[str, Any]:
    """Edited parameters against retrained ones."""
    if not bool(edited.isfinite().all()):
        return {"status": "the edit is not finite"}
    validation = run.splits.validation
    accuracy = run.accuracy(validation, edited)
    loss, true_loss = (float(run.query_losses(validation.pool(), omega).detach()) for omega in (edited, retrained))
    change, true = edited - run.parameters, retrained - run.parameters
    size = float(change.norm() / true.norm())
    return {
        "accuracy": accuracy,
        "difference": accuracy - run.accuracy(validation, retrained),
        "loss_error": abs(loss - true_loss),
        "cosine": float(torch.cosine_similarity(change, true, dim=0)) if size > 0 else float("nan"),
        "size": size,
        "status": "ok",
    }


def measure(
    workload: Workload, fractions: Sequence[float], parts: int, names: Sequence[str] | None = None
) -> pd.DataFrame:
    """Every edit of every group: accuracy beside retraining, cosine and size of the edit, runtime and memory."""
    return edits(workload, KINDS, fractions, parts, names)


def _each(workload: str, fractions: Sequence[float], seeds: tuple[int, ...] | None = None) -> list[Case]:
    """A cell a method."""
    arguments = {"fractions": fractions, "parts": 1}
    return [
        Case(workload, {}, {**arguments, "names": names}, seeds)
        for names in (UNEDITED, *((name,) for name in editing_methods()))
    ]


CASES = {
    "desk": [
        Case("digits-mlp", arguments={"fractions": FRACTIONS, "parts": 3}),
        Case("cifar10-cnn", CNN, {"fractions": FRACTIONS, "parts": 1}),
    ],
    "real": [
        *_each("mnist-mlp-full", (0.01, 0.1), THREE),
        *_each("cifar10-cnn-norm-20000", (0.1,)),
        *_each("fashion-cnn-full", (0.1,)),
    ],
    "paper": [replace(case, arguments={"fractions": FRACTIONS, "parts": 1}) for case in PAPER],
}
