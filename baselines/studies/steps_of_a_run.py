"""A run from step to step: losses, gradients, how an adjoint grows on its way back, what each step adds to a score."""

from typing import Any

import numpy as np
import pandas as pd
import torch

from baselines.studies.cases import Case
from samattr_ref.run import Run
from samattr_ref.training import train
from samattr_ref.trajectory import states
from samattr_ref.unrolled.derivative import Term, terms
from samattr_ref.workload import Workload

LOOKED_AT = 60
"""At how many steps the whole training set is looked at, evenly spread."""

SHOWN = 4
"""How many of the most helpful and of the most harmful points, for the mean validation point, are followed."""

STATE, ADJOINT, TERM = "state", "adjoint", "term"
"""The parts of the frame."""


def measure(workload: Workload) -> pd.DataFrame:
    """Training, the adjoint, and the influence of some points over the steps; the query is the mean validation point.

    Args:
        workload: The workload.

    Returns:
        Rows of three kinds (`part`), each of a `step`:

        - a `state` before the step: mean training `loss` without its L2 term, validation `accuracy`, the norm of the
          full gradient (`grad_norm`), `rho_over_grad_norm`, the step size (`eta`), and whether the state is `kept`;
        - an `adjoint`: `adjoint`, ‖dℓ_q/dω_t‖ over that at the end;
        - a `term`: what the step adds to the score of a `point` (`value`), with `score`, the sum of its terms, the
          label `given` and whether it is `wrong`. Steps that did not hold the point have no row.
    """
    run = train(workload)
    direction = run.query_gradients(run.splits.validation.pool())
    scores = direction.new_zeros(run.n_train)
    added: list[tuple[int, np.ndarray, np.ndarray]] = []
    rows: list[dict[str, Any]] = []
    for term in terms(run, direction):
        scores.index_add_(0, term.points, term.values[:, 0])
        added.append(_term(term))
        growth = float(torch.linalg.vector_norm(term.adjoint) / torch.linalg.vector_norm(direction))
        rows.append({"part": ADJOINT, "step": term.step, "adjoint": growth})
    order = scores.argsort().tolist()
    followed = dict.fromkeys([*order[-SHOWN:][::-1], *order[:SHOWN]])
    rows += [
        {
            "part": TERM,
            "step": step,
            "point": int(point),
            "value": float(value),
            "score": float(scores[point]),
            "given": int(run.train.y[point]),
            "wrong": bool(run.splits.noisy[point]),
        }
        for step, points, values in added
        for point, value in zip(points, values, strict=True)
        if int(point) in followed
    ]
    return pd.DataFrame([*_states(run), *rows]).sort_values(["part", "step"], ignore_index=True, kind="stable")


def _term(term: Term) -> tuple[int, np.ndarray, np.ndarray]:
    return term.step, term.points.cpu().numpy(), term.values[:, 0].double().cpu().numpy()


def _states(run: Run) -> list[dict[str, Any]]:
    """The whole training set, and the validation set, at some steps."""
    steps = np.unique(np.linspace(0, run.n_steps - 1, min(LOOKED_AT, run.n_steps)).round().astype(int)).tolist()
    kept, rho = set(run.checkpoint_steps.tolist()), run.workload.recipe.rho
    rows = []
    for t, state in states(run, steps):
        norm = float(torch.linalg.vector_norm(run.gradient(state.omega)))
        rows.append(
            {
                "part": STATE,
                "step": t,
                "loss": float(run.query_losses(run.train, state.omega).mean()),
                "accuracy": run.accuracy(run.splits.validation, state.omega),
                "grad_norm": norm,
                "rho_over_grad_norm": rho / norm if norm else None,
                "eta": run.etas[t],
                "kept": t in kept,
            }
        )
    return rows


CASES = {
    "quick": [Case("digits-logreg"), Case("digits-mlp")],
    "desk": [Case("cancer-logreg"), Case("docstrings-mlp")],
    "real": [Case(name) for name in ("mnist-mlp-full", "fashion-cnn-full", "cifar10-cnn-norm-20000")],
}
