"""The training points that each method calls most helpful and most harmful to a query, beside exact leave-one-out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from baselines.studies.agreement import chosen_options
from baselines.studies.cases import Case
from baselines.studies.chosen import compared
from baselines.studies.kinds_of_points import png_images
from baselines.truth import Truth, leave_one_out
from baselines.validation import GROUND_TRUTH
from samattr_ref.attribution import attribute, influence_score
from samattr_ref.run import Run
from samattr_ref.training import train
from samattr_ref.workload import Workload

QUERIES = 12
"""The first queries of a workload are shown."""

SHOWN = 6
"""How many of the most helpful points of a query, and of the most harmful, by each method."""

SUSPECTS = 24
"""How many of the points of lowest Influence Score, by each method."""

COMPARED = 40
"""How many removed points predicted and exact effects are compared for, on each query; drawn by their places."""

LONGEST = 600
"""Characters of a text that are kept."""

POINT, QUERY, PAIR, SUSPECT = "point", "query", "pair", "suspect"
"""The parts of the frame."""


def measure(workload: Workload, methods: Sequence[str]) -> pd.DataFrame:
    """The points that each method calls most helpful and most harmful, with what is known of them.

    Args:
        workload: The workload.
        methods: Methods; exact leave-one-out stands among them by the name of the ground truth.

    Returns:
        Rows of four kinds (`part`):

        - a `query`: its `index`, its label (`given`), the `predicted` class and its `loss` in nats;
        - a `pair` of a `method`, a `query` and a training `point`: the predicted effect (`score`), the `exact` one
          where the point was removed, and its `rank` from the most helpful (1) or from the most harmful (−1); 0 for
          points that are there to compare effects;
        - a `suspect`: a `method` and a `point` of lowest Influence Score, by `rank`;
        - a training `point` that is named in another row: its `index`, `given` and `clean` label, and whether it is
          `wrong`.

        Queries and points have a picture (`image`, a PNG file in base64) or a `text`, where there is one.
    """
    run = train(workload)
    truth = leave_one_out(run)
    count = min(QUERIES, len(run.splits.queries))
    chosen = run.splits.queries.take(slice(count))
    exact = np.full((run.n_train, count), np.nan)
    removed = np.array([int(group) for group in truth.groups])
    exact[removed] = truth.values[:, :count].double().cpu().numpy()
    sample = removed[np.linspace(0, len(removed) - 1, min(COMPARED, len(removed))).round().astype(int)]
    rows: list[dict[str, Any]] = []
    for method in methods:
        scores, influence = _scores(method, run, truth, exact, count)
        rows += [row for q in range(count) for row in _pairs(method, q, scores[:, q], exact[:, q], sample)]
        order = np.argsort(influence, kind="stable")  # NaN, of points without an exact effect, comes last
        rows += [
            {"part": SUSPECT, "method": method, "point": int(i), "rank": rank, "score": influence[i]}
            for rank, i in enumerate(order[:SUSPECTS], 1)
            if np.isfinite(influence[i])
        ]
    named = sorted({row["point"] for row in rows})
    losses, predicted = run.query_losses(chosen), run.predictions(chosen).argmax(-1)
    queries = [
        {"part": QUERY, "index": q, "given": int(chosen.y[q]), "predicted": int(predicted[q]), "loss": float(losses[q])}
        for q in range(count)
    ]
    labels, clean = run.train.y, run.train.y if run.splits.clean is None else run.splits.clean
    points = [
        {"part": POINT, "index": i, "given": int(labels[i]), "clean": int(clean[i]), "wrong": bool(run.splits.noisy[i])}
        for i in named
    ]
    frame = pd.DataFrame([*queries, *points, *rows])
    shown = [*_looks(workload, 1, chosen.x, range(count)), *_looks(workload, 0, run.train.x, named)]
    looks = pd.DataFrame([*shown, *([{}] * len(rows))], columns=["image", "text"]).astype(object)
    return pd.concat([frame, looks.where(looks.notna(), None)], axis=1)


def _scores(method: str, run: Run, truth: Truth, exact: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores [n_train, count] of the first queries, and Influence Scores [n_train]; NaN where they are not known."""
    if method == GROUND_TRUTH:
        return exact, truth.influence.double().cpu().numpy()
    options = chosen_options(method, run.workload)
    scores = attribute(run, method, run.splits.queries.take(slice(count)), **options).values
    influence = influence_score(run, method, run.splits.validation, **options)
    return scores.double().cpu().numpy(), influence.double().cpu().numpy()


def _pairs(method: str, q: int, score: np.ndarray, exact: np.ndarray, sample: np.ndarray) -> list[dict[str, Any]]:
    """The ends of one method's ranking for a query, and the points whose effects are compared."""
    known = np.flatnonzero(np.isfinite(score))
    order = known[np.argsort(-score[known], kind="stable")]
    ranked = [(i, rank) for rank, i in enumerate(order[:SHOWN], 1)]
    ranked += [(i, -rank) for rank, i in enumerate(order[::-1][:SHOWN], 1)]
    ends = {int(i) for i, _ in ranked}
    ranked += [(i, 0) for i in sample if int(i) not in ends]
    return [
        {
            "part": PAIR,
            "method": method,
            "query": q,
            "point": int(i),
            "rank": rank,
            "score": float(score[i]),
            "exact": float(exact[i]),
        }
        for i, rank in ranked
    ]


def _looks(workload: Workload, place: int, x: Tensor, chosen: Sequence[int]) -> list[dict[str, str]]:
    """What a reader sees of some points: a picture, or a text where their source has one (`described`)."""
    if x.ndim == 4 and x.shape[1] in (1, 3):
        return [{"image": image} for image in png_images(x, chosen)]
    if not hasattr(workload.data, "described"):
        return [{} for _ in chosen]
    texts = workload.data.described(workload.seed)[place]
    return [{"text": texts[i][:LONGEST]} for i in chosen]


METHODS = (GROUND_TRUTH, "sam-unrolled", *compared()[1:])

CASES = {
    "quick": [Case(name, arguments={"methods": METHODS}) for name in ("digits-logreg", "digits-mlp")],
    "desk": [
        *(Case(name, arguments={"methods": METHODS}) for name in ("cancer-logreg", "docstrings-mlp")),
        Case(
            "cifar10n-cnn",
            {"n_train": 500, "channels": (4, 8), "steps": 200, "n_removed": 50},
            {"methods": (GROUND_TRUTH, "sam-unrolled", "sam-if", "sam-gif", "loss")},
        ),
    ],
    "real": [Case("mnist-mlp-full", arguments={"methods": (GROUND_TRUTH, "sam-unrolled", "sam-if", "sam-gif")})],
}
"""Only the first seed is looked at."""
