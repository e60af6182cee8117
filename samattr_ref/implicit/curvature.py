"""Curvature at ω*: of the full training set, or of each of the run's last batches with a perturbation of its own."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from samattr_ref.data import Examples
from samattr_ref.run import Run
from samattr_ref.sam.variants import Point
from samattr_ref.solvers.dense import dense_bytes
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.memory import check_fits, given_bytes


class Curvature:
    """∇²L or its Gauss-Newton approximation of some examples at one point, λI included."""

    def __init__(self, run: Run, omega: Tensor, examples: Examples, kind: str) -> None:
        self.omega, self.examples = omega, examples
        objective = run.objective
        self._product = objective.hvp if kind == "hessian" else objective.ggnvp
        self._dense: Tensor | None = None

    def product(self, v: Tensor) -> Tensor:
        """The product with v [P, m], never by the matrix: whether that was made before changes no bit."""
        return self._product(self.omega, self.examples.x, self.examples.y, v)

    def matrix_product(self, v: Tensor) -> Tensor:
        """The product with v [P, m], by the matrix."""
        return (self.dense() @ v.double()).to(v)

    def dense(self) -> Tensor:
        """The matrix itself, float64 [P, P], computed once."""
        if self._dense is None:
            check_fits(dense_bytes(len(self.omega)), "a dense solve, which solver=cg avoids,")
            identity = torch.eye(len(self.omega), dtype=self.omega.dtype, device=self.omega.device)
            matrix = self.product(identity).double()
            self._dense = (matrix + matrix.T) / 2
        return self._dense


@dataclass(frozen=True, eq=False)
class Part:
    """Training points that share one perturbation at ω*: all of them, or a batch.

    Attributes:
        points: The points, int64 [b].
        share: Its weight in the mean over parts.
        point: ω*, g = ∇L_b(ω*) and what stands for a variant's memory, [P] each.
        perturbed: ω* + ê_b, [P].
        at_omega: H₀, the curvature of its points at ω*.
        at_perturbed: H, the curvature of its points at ω* + ê_b.
    """

    points: Tensor
    share: float
    point: Point
    perturbed: Tensor
    at_omega: Curvature
    at_perturbed: Curvature


def kept(run: Run) -> dict[Any, Any]:
    """What was computed about a run's curvature under the bound on memory that now holds, to be used again.

    Sums are cut by that bound: what another bound left differs in its last bits, and may not fit.
    """
    found: dict[Any, Any] | None
    bound, found = run.cache.get("curvature", (None, None))
    if found is None or bound != given_bytes():
        found = {}
        run.cache["curvature"] = (given_bytes(), found)
    return found


def parts(run: Run, kind: str, batches: int | None = None) -> list[Part]:
    """The full training set as one part, computed once a run, or the run's last batches.

    Args:
        run: The run.
        kind: `hessian` or `gauss-newton`.
        batches: M, how many of the last batches; None for the full training set.

    Raises:
        SamattrError: if the run has fewer batches.
    """
    if batches is None:
        cache = kept(run)
        if (key := ("part", kind)) not in cache:
            cache[key] = _part(run, torch.arange(run.n_train), run.train, 1.0, kind)
        return [cache[key]]
    if not 1 <= batches <= run.n_steps:
        raise SamattrError(f"batches must be a whole number from 1 to the number of steps, {run.n_steps}")
    found = []
    for t in range(run.n_steps - batches, run.n_steps):
        batch = run.batch(t)
        found.append(_part(run, batch, run.train.take(batch.to(run.train.y.device)), 1 / batches, kind))
    return found


def _part(run: Run, points: Tensor, examples: Examples, share: float, kind: str) -> Part:
    rule, omega = run.workload.recipe.rule, run.parameters
    data = run.objective.mean_gradient(omega, examples.x, examples.y)
    g = torch.add(data, omega, alpha=run.objective.weight_decay)
    memory = run.gradient(omega) if rule.variant.remembers else omega[:0]
    perturbed = omega + rule.perturb(omega, g, memory)
    H0, H = (Curvature(run, at, examples, kind) for at in (omega, perturbed))
    return Part(points.to(omega.device), share, Point(omega, g, memory, g), perturbed, H0, H)
