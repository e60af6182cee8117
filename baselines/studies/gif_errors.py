r"""What SAM-GIF leaves out: checkpoint sparsity, the Hessian terms, non-linearity; and a bound on the Hessian terms.

Without momentum the exact derivative and SAM-GIF are, over the steps from T − τ on,

    Δ_k^unrolled = Σ_t (η_t B_{k,t}/|b_t|) Π_{s>t} (I − η_s A_s) [∇ℓ_k(ω_t + ê_t) + H_t E_t ∇ℓ_k(ω_t)],
    Δ_k^gif      = Σ_t (η_t B_{k,t}/|b_t|) ∇ℓ_k(ω_t + ê_t),      A_t = H_t + H_t E_t H₀_t.

With c_t = Σ_{s>t} η_s ‖A_s‖ and ‖Π(I − η_s A_s) − I‖ ≤ e^{c_t} − 1,

    ‖Δ_k^unrolled − Δ_k^gif‖
        ≤ Σ_t (η_t B_{k,t}/|b_t|) [(e^{c_t} − 1) ‖∇ℓ_k(ω_t + ê_t)‖ + e^{c_t} ‖H_t‖ ‖E_t‖ ‖∇ℓ_k(ω_t)‖],

and a score differs by at most ‖∇ℓ_q‖ times that. For p = 2, ‖E_t‖ = ρ/‖g_t‖. ‖H_t‖ and ‖A_t‖ are of the batch, by power
iteration, ‖A_t‖ ≤ ‖H_t‖ (1 + ‖E_t‖ ‖H₀_t‖). Where the bound is not below the size of SAM-GIF's own scores it says
nothing: with η ‖A‖ of some tenths, after a few steps.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from baselines import metrics
from baselines.studies.cases import DESK, Case
from baselines.truth import leave_one_out
from baselines.validation import on_removed
from samattr_ref.attribution import attribute
from samattr_ref.methods.sam_gif import perturbed_segments
from samattr_ref.network.linear_chain import ChainLinearised
from samattr_ref.network.linearised import Linearised
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.seeds import stream
from samattr_ref.training import train
from samattr_ref.unrolled.derivative import reverse, step_of
from samattr_ref.workload import Workload

POWER_ITERATIONS = 12


STAGES = ("checkpoint sparsity", "Hessian terms", "non-linearity")
CHECKPOINTS = 10
LENGTHS = (1, 2, 3, 5, 8, 12, 20, 35, 60, 100)


def stages(workload: Workload, checkpoints: int) -> pd.DataFrame:
    """The error of SAM-GIF split up: from C checkpoints, from every step, with the Hessian terms, to the truth.

    Returns:
        Rows `stage` (`checkpoint sparsity`, `Hessian terms`, `non-linearity`) with the relative error before and after
        the stage is removed (`before`, `after`), the size of what the stage changes (`change`), all over ‖truth‖, and
        the Spearman after it (`spearman`).
    """
    run = train(workload)
    truth = leave_one_out(run)
    true = truth.values.double().cpu().numpy()
    given: list[tuple[str, dict[str, Any]]] = [
        ("sam-gif", {"checkpoints": checkpoints}),
        ("sam-gif", {}),
        ("sam-unrolled", {}),
    ]
    steps = [on_removed(attribute(run, name, **options).values, truth) for name, options in given]
    steps.append(true)
    rows: list[dict[str, Any]] = []
    for stage, before, after in zip(STAGES, steps[:-1], steps[1:], strict=True):
        rows.append(
            {
                "stage": stage,
                "before": metrics.relative_error(before, true),
                "after": metrics.relative_error(after, true),
                "change": float(np.linalg.norm(after - before) / np.linalg.norm(true)),
                "spearman": float(metrics.spearman_per_query(after, true).mean()),
            }
        )
    return pd.DataFrame(rows)


def omitted_bound(workload: Workload, lengths: Sequence[int]) -> pd.DataFrame:
    """The omitted Hessian terms of the last τ steps beside their bound, both over the size of SAM-GIF's scores there.

    Args:
        workload: The workload; SAM with p = 2, without momentum.
        lengths: τ.

    Returns:
        Rows `last`: `omitted` and `bound` (Frobenius norms over points and queries, relative), and `curvature`,
        Σ η_t ‖A_t‖ over these steps.

    Raises:
        SamattrError: for momentum or another norm.
    """
    recipe = workload.recipe
    if recipe.momentum or recipe.p != 2 or not recipe.variant.is_sam:
        raise SamattrError("the bound on the omitted terms is for SAM with p = 2 without momentum")
    run = train(workload)
    directions = run.query_gradients(workload.queries)
    sizes = torch.linalg.vector_norm(directions, dim=1)
    longest = max(lengths)
    gif = torch.zeros(run.n_train, len(directions)).to(directions)
    bound = torch.zeros(run.n_train).to(directions)
    found = {}
    c = 0.0
    segments = list(perturbed_segments(run, None))[-longest:]
    for count, (segment, perturbed) in enumerate(reversed(segments), start=1):
        points, weights = segment.points, segment.weights
        x, y = run.train.x[points], run.train.y[points]
        at_perturbed, at_omega = (run.objective.sample_gradients(w, x, y) for w in (perturbed, segment.omega))
        gif[points] += weights[:, None] * (at_perturbed @ directions.T)
        step = step_of(run, segment.step, segment.state)
        H, H0 = (_norm(at, segment.omega) for at in (step.at_perturbed, step.at_omega))
        E = recipe.rho / float(torch.linalg.vector_norm(step.point.g))
        lengths_k = [torch.linalg.vector_norm(g, dim=1) for g in (at_perturbed, at_omega)]
        bound[points] += weights * (np.expm1(c) * lengths_k[0] + np.exp(c) * H * E * lengths_k[1])
        c += step.eta * H * (1 + E * H0)
        if count in lengths:
            exact = reverse(run, directions, run.n_steps - count).values
            size = float(gif.norm())
            found[count] = {
                "omitted": float((exact - gif).norm()) / size,
                "bound": float(bound.norm() * sizes.norm()) / size,
                "curvature": c,
            }
    return pd.DataFrame([{"last": count, **row} for count, row in found.items()])


def _norm(linearised: Linearised | ChainLinearised, omega: Tensor) -> float:
    """The spectral norm of a batch's Hessian by power iteration: from below, close in practice."""
    v = torch.randn(1, len(omega), generator=stream(0, "power iteration"), dtype=torch.float64).to(omega)
    norm = 0.0
    for _ in range(POWER_ITERATIONS):
        v = linearised.along(v / torch.linalg.vector_norm(v))[0]
        norm = float(torch.linalg.vector_norm(v))
    return norm


def measure(workload: Workload, checkpoints: int, lengths: Sequence[int]) -> pd.DataFrame:
    """The stages of the error, and the omitted terms of the last steps beside their bound."""
    return pd.concat([stages(workload, checkpoints), omitted_bound(workload, lengths)], ignore_index=True)


CASES = {"beyond": [Case(case.workload, {}, {"checkpoints": CHECKPOINTS, "lengths": LENGTHS}) for case in DESK]}
