"""Scores that another program made, held against exact leave-one-out retraining as a method's are."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from baselines.score_files import checked_scores, identity
from baselines.truth import leave_one_out
from baselines.validation import Validation, at_seed, on_removed, result_of
from samattr_ref.network.functionals import LOSS
from samattr_ref.run import Run
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.timing import Timing
from samattr_ref.training import train
from samattr_ref.workload import Workload


def validate_scores(
    values: Any,
    workload: Workload | str,
    name: str = "scores",
    seed: int | None = None,
    *,
    made_for: Mapping[str, str] | None = None,
    validation: Any = None,
    seconds: float | None = None,
) -> Validation:
    """Hold scores that were made elsewhere against exact leave-one-out retraining.

    What can be told without training is refused before it: other numbers of points or queries, NaN, infinity, anything
    that is no real number. Nothing of the result is stored.

    Args:
        values: The scores s[i, q], [n_train, n_query]: the predicted change of query q's loss when training point i is
            removed, positive where the point helps; a tensor, an array or lists.
        workload: A workload or its name.
        name: What the row is called.
        seed: Its seed; by default the workload's own, or 0.
        made_for: The digests of the run and of the queries that the scores are of, see
            `baselines.score_files.identity`; None where the caller knows.
        validation: The Influence Score on the validation set of every training point, [n_train]; None without any:
            then nothing is said of finding wrong labels.
        seconds: How long the scores took, where it is known.

    Returns:
        The metrics that `baselines.validate` gives a method, but for those of parameter changes.

    Raises:
        SamattrError: for scores that are not of this workload's run, or not scores.
    """
    scores = checked_scores(values, 2)
    means = None if validation is None else checked_scores(validation, 1)
    if seconds is not None and not 0 <= seconds < math.inf:
        raise SamattrError(f"seconds must be a finite number >= 0, not {seconds}")
    chosen = at_seed(workload, seed)
    _check_sizes(scores, means, chosen)
    run = train(chosen)
    if made_for is not None:
        _check_identity(made_for, run)
    truth = leave_one_out(run)
    influence = None if means is None else means.numpy()
    said = {"made_for": dict(made_for or {})}
    timing = None if seconds is None else Timing(seconds, None)
    return result_of(truth, LOSS.name, name, on_removed(scores, truth), influence, None, said, timing, None)


def _check_sizes(scores: Tensor, validation: Tensor | None, workload: Workload) -> None:
    n, m = len(workload.splits.train), len(workload.queries)
    if scores.shape != (n, m):
        found, expected = (
            f"{points} training points and {queries} queries" for points, queries in (scores.shape, (n, m))
        )
        turned = tuple(scores.shape) == (m, n)
        hint = "say the other layout" if turned else "name the seed and settings of the export"
        raise SamattrError(f"the scores are of {found}, not of {expected}: {hint}")
    if validation is not None and len(validation) != n:
        raise SamattrError(f"the scores on the validation set are of {len(validation)} training points, not of {n}")


def _check_identity(made_for: Mapping[str, str], run: Run) -> None:
    own = identity(run)
    for what, said in made_for.items():
        if said != own[what]:
            raise SamattrError(
                f"the scores are of {what} {said[:12]}…, and {run.workload.name} has {own[what][:12]}… here: name "
                "the seed and settings of the export, or export it here and make the scores of that"
            )
