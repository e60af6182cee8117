"""`sam-gif`: gradient-trajectory influence for SAM (Ren et al., Theorem 4.6).

    Δ_k = Σ_t η_t B_{k,t} ∇ℓ_k(ω_t + ê_t) / |b_t|,    s[k, q] = ⟨∇ℓ_q(ω*), Δ_k⟩

with B_{k,t} = 1 where k is in batch b_t and ê_t the perturbation of that batch. It is the derivative of the whole run
with every Hessian term dropped. From C checkpoints, the middle state of each of C segments stands for it, with the
segment's Σ_t η_t B_{k,t}/|b_t| as the weight and ê from the full training loss there.

This differs from the paper in: (1) with momentum, η_t becomes η̃_t = Σ_{s ≥ t} η_s μ^{s−t}, how far a gradient moves ω_T
through the buffer; without momentum they are the same; (2) of a variant of SAM, ê_t is the variant's own, and of GSAM
the perturbed gradient alone is taken. From checkpoints, Friendly-SAM's memory is the full gradient there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from samattr_ref.data import Examples
from samattr_ref.growth import Growth, Way
from samattr_ref.registry import Family, factored_query, method
from samattr_ref.run import Run
from samattr_ref.sam.step import Batch
from samattr_ref.scores import Scores
from samattr_ref.trajectory import (
    Segment,
    add_products,
    effective_step_sizes,
    most_segments,
    segments,
    trajectory_change,
)


def sam_gif_change(run: Run, groups: Sequence[Tensor], *, checkpoints: int | None = None) -> Tensor:
    """Δ of removing each group of training points, [n_groups, P]; the sum over its points."""
    return trajectory_change(run, groups, perturbed_segments(run, checkpoints))


@method(
    "sam-gif",
    summary="gradient-trajectory influence: the run's derivative without its Hessian terms",
    source="Ren et al., arXiv 2507.04059, Theorem 4.6",
    change=sam_gif_change,
    linear=True,
    any_functional=True,
    query_bytes=factored_query,
    label="SAM-GIF",
    family=Family.TRAJECTORY,
    rank=60,
    growth=Growth("T B F", P=1, T=1, Q=1),
    ways={"from checkpoints": Way("from checkpoints", Growth("C n F", n=1, P=1, C=1, Q=1), {"checkpoints": 2})},
    full_size={"checkpoints": 10},
)
def sam_gif(run: Run, queries: Examples, *, checkpoints: int | None = None) -> Scores:
    """Scores [n_train, n_query], linear in the query.

    Args:
        run: The run.
        queries: The queries.
        checkpoints: C, the number of segments; None takes every step.

    Raises:
        SamattrError: if C is larger than the number of steps.
    """
    directions = run.query_directions(queries)
    values = torch.zeros(run.n_train, len(queries)).to(run.parameters)
    for segment, omega in perturbed_segments(run, checkpoints):
        add_products(run, values, segment, omega, directions)
    return Scores(values, {"checkpoints": checkpoints or run.n_steps})


def perturbed_segments(run: Run, checkpoints: int | None) -> Iterator[tuple[Segment, Tensor]]:
    """Each segment with ω_t + ê_t [P]: ê_t of the step itself, or for longer segments of the full training loss.

    The points that a variant left out of a step's perturbed gradient weigh nothing there.
    """
    rule = run.workload.recipe.rule
    single = checkpoints in (None, most_segments(run))
    for segment in segments(run, checkpoints, effective_step_sizes(run)):
        omega, memory = segment.state.omega, segment.state.memory
        g = run.gradient(omega, segment.points if single else None)
        if not single:
            yield segment, omega + rule.perturb(omega, g, g if rule.variant.remembers else memory)
            continue
        perturbed = omega + rule.perturb(omega, g, memory, run.draw(segment.step))
        if rule.rho > 0 and rule.variant.selects:
            batch = Batch(run.objective, run.train.x[segment.points], run.train.y[segment.points])
            if (keep := batch.keep(rule, omega, perturbed)) is not None:
                segment = replace(segment, weights=segment.weights * keep)
        yield segment, perturbed
