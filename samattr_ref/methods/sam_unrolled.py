"""`sam-unrolled`: the exact derivative of the whole training run, Hessian terms kept, see `samattr_ref.unrolled`.

    s[k, q] = −dℓ_q(ω_T)/dw_k,    Δ_k = −dω_T/dw_k

Of the last τ steps alone, with or without an implicit tail for the run before them: there the adjoint dℓ_q/dω_{T−τ} is
attributed as `sam-hif-implicit` would, as if the run had stood at a fixed point. Of a run that left C checkpoints
alone, as C segments of constant curvature, see `samattr_ref.unrolled.segmented`.

Random subsets that leave out a share α lie around the run whose points all weigh c = 1 − α, not around w = 1: there the
derivative says more of them. Where the step's direction does not change with the size of the gradient that perturbs,
as in SAM, that run is an ordinary one: c(∇L + (λ/c)ω) is its gradient, so that its step size is cη and its L2 term
λ/c, and dℓ_q/dw_k is 1/c times that of its own weights.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from samattr_ref.data import Examples
from samattr_ref.growth import Growth, Way
from samattr_ref.implicit.attribution import implicit_products
from samattr_ref.implicit.options import ImplicitOptions
from samattr_ref.marks import CHAOTIC, marks_of
from samattr_ref.methods.sam_hif_implicit import FORM
from samattr_ref.registry import Family, method
from samattr_ref.run import Run
from samattr_ref.scores import Scores
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.memory import states_bytes
from samattr_ref.training import train
from samattr_ref.unrolled.derivative import carried_bytes, forward, reverse
from samattr_ref.unrolled.segmented import reverse_segments

log = logging.getLogger("samattr")

TAME = "smaller steps, fewer of them, a warm-up or less momentum tame a run"
"""What to do about a run that is chaotic."""

_told = set[str]()
"""The runs of which it was said, by their keys: a call may take many blocks of queries."""


def sam_unrolled_change(
    run: Run,
    groups: Sequence[Tensor],
    *,
    last: int | None = None,
    tail_damping: float | None = None,
    checkpoints: int | None = None,
    weight: float = 1.0,
) -> Tensor:
    """Δ of removing each group of training points, to first order, [n_groups, P]; by forward mode.

    Raises:
        SamattrError: with a tail or segments, which reverse mode alone has.
    """
    if tail_damping is not None or checkpoints is not None:
        raise SamattrError("sam-unrolled predicts parameter changes without tail_damping and checkpoints alone")
    run = _weighted(run, weight)
    changes = forward(run, groups, _first(run, last)) / weight
    size = float((torch.linalg.vector_norm(changes, dim=1) / torch.linalg.vector_norm(run.parameters)).max())
    if not size <= 1:
        _tell(run, f"a predicted change is {size:,.1f} times as long as the parameters, which no derivative can tell")
    return changes


@method(
    "sam-unrolled",
    summary="exact derivative of the whole run, Hessian terms kept",
    source="this project",
    change=sam_unrolled_change,
    linear=True,
    any_functional=True,
    query_bytes=carried_bytes,
    label="SAM unrolled",
    family=Family.DERIVATIVE,
    rank=10,
    growth=Growth("Q T B F", P=1, T=1, Q=1),
    ways={"forward": Way("forward mode", Growth("Q T B F", P=1, T=1, Q=1), change=True)},
    compared=False,  # it goes past the paper, and has experiments of its own
)
def sam_unrolled(
    run: Run,
    queries: Examples,
    *,
    last: int | None = None,
    tail_damping: float | None = None,
    checkpoints: int | None = None,
    weight: float = 1.0,
) -> Scores:
    """Scores [n_train, n_query], linear in the query; by reverse mode.

    Args:
        run: The run.
        queries: The queries.
        last: τ, how many of the last steps are differentiated; None for all.
        tail_damping: Damping δ >= 0 of the implicit tail for the steps before these; None for no tail.
        checkpoints: C, the whole run as C segments of constant curvature; None for every step as it was.
        weight: c in (0, 1], the weight of every point where the derivative is taken: 1 for the effect of single
            points, 1 − α for that of random subsets of share α. Other than 1 takes one more training, at that weight.

    Raises:
        SamattrError: if τ is larger than the number of steps, the tail is not solved, or the weight is out of range or
            not 1 for a variant of SAM.
    """
    run = _weighted(run, weight)
    directions = run.query_gradients(queries)
    if checkpoints is not None:
        if last is not None or tail_damping is not None:
            raise SamattrError("sam-unrolled takes either checkpoints or last and tail_damping")
        found = reverse_segments(run, directions, checkpoints, "gauss-newton")
        return _scores(run, found.values / weight, {"checkpoints": checkpoints, "growth": found.growth})
    first = _first(run, last)
    found = reverse(run, directions, first, states_bytes())
    values = found.values
    diagnostics: dict[str, Any] = {"growth": found.growth, "steps": run.n_steps - first}
    if tail_damping is not None and first > 0:
        options = ImplicitOptions(damping=tail_damping, curvature="gauss-newton")
        tail = implicit_products(replace(run, parameters=found.omega), found.adjoint.T.contiguous(), FORM, options)
        values = values + tail.values
        diagnostics["tail"] = tail.diagnostics
    return _scores(run, values / weight, diagnostics)


def _scores(run: Run, values: Tensor, diagnostics: dict[str, Any]) -> Scores:
    """Scores of a run, and a warning where it is chaotic."""
    if not diagnostics["growth"] <= CHAOTIC:
        _tell(run, marks_of({"growth": diagnostics["growth"]})[0])
    return Scores(values, diagnostics)


def _tell(run: Run, what: str) -> None:
    """Say once of a run that it cannot be attributed."""
    if run.key not in _told:
        _told.add(run.key)
        log.warning("%s, seed %d: %s; %s", run.workload.name, run.workload.seed, what, TAME)


def _weighted(run: Run, weight: float) -> Run:
    """The run whose points all weigh `weight` < 1, with weights of its own that are 1 there."""
    if weight == 1:
        return run
    workload, recipe = run.workload, run.workload.recipe
    if not 0 < weight < 1 or not recipe.variant.is_sam:
        raise SamattrError(f"weight must be in (0, 1], and 1 for a variant of SAM, not {weight}")
    scaled = replace(recipe, learning_rate=weight * recipe.learning_rate, weight_decay=recipe.weight_decay / weight)
    return train(replace(workload, recipe=scaled))


def _first(run: Run, last: int | None) -> int:
    if last is None:
        return 0
    if not 1 <= last <= run.n_steps:
        raise SamattrError(f"last must be a whole number from 1 to the number of steps, {run.n_steps}, not {last}")
    return run.n_steps - last
