r"""How often removing a point flips signs of the gradient at the end of training, and what a flip costs.

The p-norm perturbation holds the signs of g fixed in ∂ê/∂g. At a fixed point ∇L(ω + ê) = 0, the perturbed point ω + ê
moves as the minimiser of L does, so ω_{−k} = (ω + ê)_{−k} − ê_{−k}: what ê does not do as predicted is, to first order,
the error of Δ_k itself. For p = ∞, ê_j = ρ sign(g_j) and a flip of coordinate j moves ê_j by 2ρ: with m_k flips

    ‖Δ_k − Δ_k^predicted‖ ≤ ‖ê_{−k} − ê‖ + non-linearity,    ‖ê_{−k} − ê‖ = 2ρ √m_k,

where the prediction takes ∂ê/∂ω for zero. For p = 2, ê is smooth in g: a coordinate that passes through zero has no
sign held, and flips alone cause no error.
"""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch

from baselines.studies.cases import Case
from baselines.truth import Truth, leave_one_out
from samattr_ref.attribution import parameter_change
from samattr_ref.run import Run
from samattr_ref.sam.perturbation import perturbation
from samattr_ref.support.errors import SamattrError, UnstableError
from samattr_ref.training import train
from samattr_ref.workload import Workload

METHODS = ("sam-hif-implicit", "sam-if")
NORMS = (2.0, 3.0, float("inf"))
SHARES = (0.25, 0.5, 1.0, 2.0)
RADII = (0.25, 1.0, 4.0)
POINTS = 60
DAMPED = {"curvature": "gauss-newton", "damping": 0.01}
"""For the MLP: it has not converged, and an indefinite Hessian makes errors of up to 10⁴ whatever flips."""
SOLVED: dict[str, Mapping[str, Any] | None] = {"digits-logreg": None, "digits-mlp": DAMPED}
"""The workloads, and how the implicit methods solve on each."""
USUAL = {2.0: 1.0, 3.0: 1.0, float("inf"): 0.1}
"""By p, the radius beside the workload's own: an ∞-ball of the same radius is far larger."""


def sign_flips(
    workload: Workload, methods: tuple[str, ...], points: int, options: Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """Flips of sign between ∇L(ω*) and ∇L_{−k}(ω_{−k}), removal by removal, beside the error of predicted changes.

    Args:
        workload: The workload.
        methods: Methods whose parameter changes are held against the true ones.
        points: How many of the removed points to look at.
        options: Options of the methods.

    Returns:
        Rows `point`, `method`: `flips` (share of the coordinates), `error` (‖Δ̂ − Δ‖/‖Δ‖), `shift` (‖ê_{−k} − ê‖/‖Δ‖,
        the bound from flips where p = ∞), `size` (‖Δ‖), `grad_norm`, `status`.

    Raises:
        UnstableError: where training diverges or does not repeat itself.
    """
    run = train(workload)
    truth = leave_one_out(run)
    groups, true = truth.groups[:points], truth.changes[:points]
    g = run.gradient(run.parameters)
    flips, shift = _flips(run, truth, points)
    size = torch.linalg.vector_norm(true, dim=1)
    frames: list[pd.DataFrame] = []
    for name in methods:
        status = "ok"
        try:
            error = (
                torch.linalg.vector_norm(parameter_change(run, name, groups, **(options or {})) - true, dim=1) / size
            )
        except SamattrError as failure:
            status, error = str(failure), torch.full_like(size, torch.nan)
        columns = {"flips": flips, "error": error, "shift": shift / size, "size": size}
        found = pd.DataFrame({column: values.tolist() for column, values in columns.items()})
        norm = float(torch.linalg.vector_norm(g))
        frames.append(found.assign(point=torch.cat(groups).tolist(), method=name, grad_norm=norm, status=status))
    return pd.concat(frames, ignore_index=True)


def _flips(run: Run, truth: Truth, points: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Share of the coordinates of ∇L whose sign each removal flips, and ‖ê_{−k} − ê‖, [points] each."""
    recipe = run.workload.recipe
    g = run.gradient(run.parameters)
    e = perturbation(g, recipe.rho, recipe.p)
    weights = torch.ones(run.n_train).to(g)
    flips, shift = [], []
    for group, omega in zip(truth.groups[:points], truth.parameters[:points], strict=True):
        weights[group] = 0
        after = run.objective.eager_gradient(omega, run.train.x, run.train.y, weights)
        weights[group] = 1
        flips.append((torch.sign(after) != torch.sign(g)).to(g.dtype).mean())
        shift.append(torch.linalg.vector_norm(perturbation(after, recipe.rho, recipe.p) - e))
    return torch.stack(flips), torch.stack(shift)


def measure(
    workload: Workload, p: float, rho: float, length: float, options: Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """Flips and errors, removal by removal; ρ and the number of steps as multiples of the workload's own."""
    recipe = workload.recipe
    radius = recipe.rho * rho * USUAL[p]
    varied = workload.override(p=p, rho=radius, steps=round(length * recipe.steps))
    try:
        frame = sign_flips(varied, METHODS, POINTS, options)
    except UnstableError as unstable:
        nothing = dict.fromkeys(("flips", "error", "shift"), math.nan)
        frame = pd.DataFrame([{"method": name, **nothing, "status": str(unstable)} for name in METHODS])
    return frame.assign(p=p, rho=radius, factor=rho, length=length, steps=varied.recipe.steps)


def _cases() -> list[Case]:
    settings = [(p, 1.0, length) for p in NORMS for length in SHARES]
    settings += [(p, rho, 1.0) for p in NORMS for rho in RADII if rho != 1]
    return [
        Case(name, {"n_removed": POINTS}, {"p": p, "rho": rho, "length": length, "options": options})
        for name, options in SOLVED.items()
        for p, rho, length in settings
    ]


CASES = {"beyond": _cases()}
