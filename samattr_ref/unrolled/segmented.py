"""The run as C segments of constant curvature: the adjoint of a run of which only checkpoints are left.

Within a segment of K steps one state stands for all, as for `sam-gif` from checkpoints, and every step is taken to be
the same: mean step size η̄, the curvature A = H + H E H₀ and the right-hand sides r_k = ∇ℓ_k(ω + ê) + H E ∇ℓ_k(ω) of the
full training loss there (`samattr_ref.implicit`). The adjoint a of the segment's end then is, at its start and summed
over its steps,

    (I − η̄ Aᵀ)^K a    and    S a = η̄ Σ_{j<K} (I − η̄ Aᵀ)^j a,

and point k scores ⟨S a, r_k⟩ Σ_t η_t B_{k,t}/|b_t| / Σ_t η_t. With one segment at the end of training and K → ∞, S is
A⁻ᵀ and this is `sam-hif-implicit`; with A = 0 it is `sam-gif` from C checkpoints but for the removal term. The idea is
SOURCE's (Bae et al. 2024, Section 3), here for SAM, and with the powers themselves in place of their exponential.
"""

from dataclasses import replace

import torch
from torch import Tensor

from samattr_ref.implicit.options import Form, ImplicitOptions
from samattr_ref.implicit.removal import through_removal
from samattr_ref.implicit.system import ImplicitSystem
from samattr_ref.run import Run
from samattr_ref.training import segment_bounds
from samattr_ref.trajectory import effective_step_sizes, segments
from samattr_ref.unrolled.derivative import Adjoint, growth

FORM = Form(perturbed=True, coupled=True, removal=True)


def reverse_segments(run: Run, directions: Tensor, checkpoints: int, curvature: str) -> Adjoint:
    """The scores of every training point for each direction, and the adjoint at the first state that is left.

    Args:
        run: The run.
        directions: ∇ℓ_q(ω_T) of each query, shape [m, P].
        checkpoints: C, the number of segments.
        curvature: `hessian` or `gauss-newton`, which has no negative curvature for the powers to grow along.

    Raises:
        SamattrError: if C is larger than the number of steps.
    """
    step_sizes = effective_step_sizes(run)
    cut = list(zip(segment_bounds(checkpoints, run.n_steps), segments(run, checkpoints, step_sizes), strict=True))
    values = directions.new_zeros(run.n_train, len(directions))
    a = directions.T.contiguous()
    for (start, stop), segment in reversed(cut):
        total = float(step_sizes[start:stop].sum())
        there = replace(run, parameters=segment.omega)
        system = ImplicitSystem(there, FORM, ImplicitOptions(curvature=curvature))
        a, summed = _powers(system, a, total / (stop - start), stop - start)
        values[segment.points] += segment.weights[:, None] * through_removal(system, summed)[segment.points] / total
    return Adjoint(values, there.parameters, a.T, growth(directions, a.T))


def _powers(system: ImplicitSystem, a: Tensor, eta: float, steps: int) -> tuple[Tensor, Tensor]:
    """(I − η Aᵀ)^K a and η Σ_{j<K} (I − η Aᵀ)^j a, [P, m] each, a product a step."""
    product = system.transpose_product
    if system.by_matrix:
        transposed = system.dense().T.to(a)

        def product(v: Tensor) -> Tensor:
            return transposed @ v

    summed = torch.zeros_like(a)
    for _ in range(steps):
        summed = summed + eta * a
        a = a - eta * product(a)
    return a, summed
