"""`tracin`: ideal TracIn, the query's loss change over the steps that used the point (Pruthi et al. 2020, Section 3.2).

s[k, q] = Σ_t η_t B_{k,t}/|b_t| ⟨∇ℓ_k(ω_t), ∇ℓ_q(ω_t)⟩

TracIn predicts no parameter change. Where models are edited, the sum of the steps that it credits to a point stands for
one, Δ_k = Σ_t η_t B_{k,t}/|b_t| ∇ℓ_k(ω_t): the point's steps undone.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from samattr_ref.data import Examples
from samattr_ref.growth import Growth
from samattr_ref.registry import Family, factored_query, method
from samattr_ref.run import Run
from samattr_ref.scores import Scores
from samattr_ref.trajectory import add_products, segments, trajectory_change


def tracin_change(run: Run, groups: Sequence[Tensor]) -> Tensor:
    """Δ of removing each group of training points, [n_groups, P]: their steps undone."""
    parts = ((segment, segment.omega) for segment in segments(run, None, run.step_sizes))
    return trajectory_change(run, groups, parts)


@method(
    "tracin",
    summary="gradient dot products summed over every step",
    source="Pruthi et al. 2020",
    change=tracin_change,
    linear=True,
    any_functional=True,
    query_bytes=factored_query,
    label="TracIn",
    family=Family.TRAJECTORY,
    rank=80,
    growth=Growth("T (B + m) F", P=1, T=1, Q=1),
)
def tracin(run: Run, queries: Examples) -> Scores:
    """Scores [n_train, n_query], linear in the query."""
    return trajectory_products(run, queries, None)


def trajectory_products(run: Run, queries: Examples, checkpoints: int | None) -> Scores:
    """Gradient dot products at ω_t, weighted by the step sizes with which each point was used."""
    values = torch.zeros(run.n_train, len(queries)).to(run.parameters)
    for segment in segments(run, checkpoints, run.step_sizes):
        directions = run.query_directions(queries, segment.omega)
        add_products(run, values, segment, segment.omega, directions)
    return Scores(values, {"checkpoints": checkpoints or run.n_steps})
