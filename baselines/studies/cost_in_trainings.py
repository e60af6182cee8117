"""What methods cost in units of one plain training, measured side by side in one process."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch

from baselines.studies.cases import LARGE, Case
from baselines.studies.chosen import not_of_family, of_family, options_by_method
from baselines.studies.loo_and_lds import CNN, HESSIAN
from baselines.studies.plain import train_plainly
from baselines.validation import warm_up
from samattr_ref.attribution import attribute
from samattr_ref.data import Examples
from samattr_ref.registry import Family, methods
from samattr_ref.run import Run
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.timing import Timing, noted, timed, undisturbed
from samattr_ref.training import train
from samattr_ref.workload import Workload

FEWEST, REPEATS, ENOUGH_SECONDS = 2, 5, 10.0
"""Calls of a method, at least and at most, and how long they may take together before no further one is begun."""


DAMPED = {"curvature": "gauss-newton", "damping": 0.01}
MANY = 64
BOUNDED = "√T memory"


def costs(
    workload: Workload,
    names: Sequence[str],
    many: int,
    options: Mapping[str, Mapping[str, Any]],
    alone: Sequence[str] = (),
) -> pd.DataFrame:
    """Each method's seconds over those of one plain training, the least of up to `REPEATS` alternating calls each.

    What else a machine does only ever adds to a time: the least of those that nothing disturbed says most about the
    method.

    Args:
        workload: The workload.
        names: The methods.
        many: Queries that are scored together.
        options: Options by method.
        alone: Methods that score the mean query alone, because many would take hours.

    Returns:
        Rows `method`, `how` (empty; of exact derivatives also `BOUNDED`, from square-root spaced states of the run
        alone): `mean` and `many`, plain trainings for the mean query and for many queries; `plain_seconds`; `load` and
        `disturbed` (see `samattr_ref.support.timing`); `status`.
    """
    run = train(workload, "all")
    warm_up(run)
    train_plainly(run)
    pool = run.splits.queries.pool()
    several = run.splits.validation.take(torch.arange(min(many, len(run.splits.validation))))
    ways = [(name, "", run) for name in names]
    exact = [name for name in of_family(Family.DERIVATIVE) if name in names]
    ways += [(name, BOUNDED, train(workload, "sqrt")) for name in exact]
    rows = []
    for name, how, given in ways:
        row: dict[str, Any] = {"method": name, "how": how, "status": "ok"}
        used: list[Timing] = []
        for column, queries in (("mean", pool), ("many", several)):
            if column == "many" and name in alone:
                continue
            try:
                scored, plain = _side_by_side(given, name, queries, dict(options.get(name, {})))
                used += [scored, plain]
                row |= {column: scored.seconds / plain.seconds, "plain_seconds": plain.seconds} | noted(*used)
            except SamattrError as error:
                row["status"] = str(error)
        rows.append(row)
    return pd.DataFrame(rows)


def _side_by_side(run: Run, name: str, queries: Examples, options: dict[str, Any]) -> tuple[Timing, Timing]:
    """The least of the scores' times and of plain training's."""
    plain: list[Timing] = []
    scored: list[Timing] = []
    taken = 0.0
    while len(plain) < FEWEST or (len(plain) < REPEATS and taken < ENOUGH_SECONDS):
        plain.append(timed(lambda: train_plainly(run), tries=1))
        scored.append(timed(lambda: attribute(run.fresh(), name, queries, **options), tries=1))
        taken += plain[-1].seconds + scored[-1].seconds
    own, other = (min(undisturbed(times), key=lambda one: one.seconds) for times in (scored, plain))
    return own, other


def measure(workload: Workload, options: Mapping[str, Mapping[str, Any]], alone: Sequence[str] = ()) -> pd.DataFrame:
    """Plain trainings that each method takes for the mean query, and for many queries."""
    return costs(workload, not_of_family(Family.CHANCE), MANY, options, alone)


CASES = {
    "beyond": [
        *(Case(name, {}, {"options": options_by_method(HESSIAN, DAMPED)}) for name in ("digits-logreg", "digits-mlp")),
        Case("mnist-mlp", {}, {"options": options_by_method(HESSIAN, LARGE), "alone": HESSIAN}),
        Case("cifar10-cnn", CNN, {"options": options_by_method(HESSIAN, LARGE), "alone": list(methods())}),
    ]
}
