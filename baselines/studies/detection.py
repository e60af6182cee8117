"""Finding wrong labels: by Influence Scores, by self-influence, by confident learning."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from baselines import metrics
from baselines.diverged import whole
from baselines.studies.agreement import chosen_options
from baselines.truth import Truth, retraining_truth
from baselines.validation import GROUND_TRUTH
from samattr_ref.attribution import attribute, influence_score
from samattr_ref.run import Run
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.seeds import stream
from samattr_ref.workload import Workload

SHARES = np.linspace(0, 1, 51)
"""Shares of the training points at which curves are kept."""

CONFIDENT_LEARNING = "cleanlab"
SELF_INFLUENCE = "self-influence"


def detection(
    run: Run,
    methods: Sequence[str],
    self_methods: Sequence[str],
    base: Workload,
    truth: Truth | None = None,
    folds: int = 0,
) -> pd.DataFrame:
    """How well each way of ranking training points finds the wrong labels of a run.

    Args:
        run: The run; its splits say which labels are wrong.
        methods: Methods whose Influence Scores on the validation set rank points, lowest first; `loo` needs the truth.
        self_methods: Methods whose self-influence ranks points, highest first.
        base: The workload that options are chosen on.
        truth: Leave-one-out effects of every point.
        folds: Folds of confident learning (Northcutt et al. 2021, by the package cleanlab), or 0 for none.

    Returns:
        A row a `method`, `how` (empty, or `SELF_INFLUENCE`) and share inspected: `inspected` and `found`; and repeated
        in each, `auc`, `at_count` (the share found when as many points are taken as labels are wrong), and `precision`
        and `recall` of the points that the way flags by itself: negative Influence Scores, or what cleanlab rejects.
    """
    noisy = run.splits.noisy.cpu().numpy()
    found = []
    for name in methods:
        if name == GROUND_TRUTH:
            if truth is None:
                raise SamattrError("exact leave-one-out scores need a ground truth")
            rank = whole(truth).influence
        else:
            rank = influence_score(run, name, run.splits.validation, **chosen_options(name, base))
        scores = rank.double().cpu().numpy()
        found.append(_found(name, "", scores, scores < 0, noisy))
    found += [
        _found(name, SELF_INFLUENCE, -self_influence(run, name, chosen_options(name, base)), None, noisy)
        for name in self_methods
    ]
    if folds:
        quality, flagged = confident_learning(run, folds)
        found.append(_found(CONFIDENT_LEARNING, "", quality, flagged, noisy))
    return pd.concat(found, ignore_index=True)


def self_influence(run: Run, method: str, options: dict[str, Any]) -> np.ndarray:
    """The predicted change of each training point's own loss when it is removed, [n_train].

    High where a point is known only from itself: wrong labels have the highest (Koh & Liang 2017, Section 5.4).
    """
    return attribute(run, method, run.train, **options).values.diagonal().double().cpu().numpy()


def held_out_probabilities(run: Run, folds: int) -> np.ndarray:
    """Class probabilities [n_train, c] of each training point by the same run without the point's fold.

    Args:
        run: The run.
        folds: Number of folds, drawn by the workload's seed.
    """
    order = torch.randperm(run.n_train, generator=stream(run.workload.seed, "folds", folds))
    groups = list(order.tensor_split(folds))
    probabilities = torch.zeros(run.n_train, run.splits.n_classes).to(run.parameters)
    for group, omega in zip(groups, whole(retraining_truth(run, groups)).parameters, strict=True):
        probabilities[group] = run.predictions(run.train.take(group.to(run.train.y.device)), omega)
    return probabilities.double().cpu().numpy()


def confident_learning(run: Run, folds: int) -> tuple[np.ndarray, np.ndarray]:
    """Cleanlab's label quality [n_train], low where a label is likely wrong, and the mask of labels that it rejects."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    labels, probabilities = run.train.y.cpu().numpy(), held_out_probabilities(run, folds)
    quality = get_label_quality_scores(labels, probabilities, adjust_pred_probs=True)
    return quality, find_label_issues(labels, probabilities, n_jobs=1)


def _found(name: str, how: str, scores: np.ndarray, flagged: np.ndarray | None, noisy: np.ndarray) -> pd.DataFrame:
    """The curve of one way of ranking, and what it makes of the points that it flags by itself."""
    found = [metrics.found_share(scores, noisy, share) for share in SHARES]
    frame = pd.DataFrame({"method": name, "how": how, "inspected": SHARES, "found": found})
    caught = np.nan if flagged is None else (flagged & noisy).sum()
    return frame.assign(
        auc=metrics.noise_auc(scores, noisy),
        at_count=metrics.found_share(scores, noisy, noisy.mean()),
        precision=np.nan if flagged is None else caught / max(1, flagged.sum()),
        recall=np.nan if flagged is None else caught / noisy.sum(),
    )
