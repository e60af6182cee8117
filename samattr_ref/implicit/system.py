"""The matrix of the implicit derivative, known by its products: A = H, or H + H E H₀ where coupled, + δI.

See `samattr_ref.implicit.attribution` for what it is solved with, and why.
"""

import math
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from samattr_ref.implicit.curvature import Curvature, Part, kept, parts
from samattr_ref.implicit.options import Form, ImplicitOptions
from samattr_ref.run import Run
from samattr_ref.sam.variants import Point
from samattr_ref.solvers.preconditioner import LowRank, top_eigenvectors
from samattr_ref.solvers.solution import Solution
from samattr_ref.solvers.solve import resolved
from samattr_ref.solvers.systems import Factors
from samattr_ref.support.errors import SamattrError


class ImplicitSystem:
    """A = mean over parts of H, or of H + H E H₀ where coupled; + δI."""

    def __init__(self, run: Run, form: Form, options: ImplicitOptions) -> None:
        self.run, self.form, self.options = run, form, options
        self.rule, self.damping = run.workload.recipe.rule, options.damping
        self.parts = parts(run, options.curvature, options.batches)
        self.coupled = form.coupled and self.rule.rho > 0
        self.moves_memory = self.rule.variant.remembers and options.batches is None
        self.symmetric = not self.coupled
        self.size = len(run.parameters)
        self.solver = resolved(options.solver, self.size, self.symmetric)
        self.by_matrix = self.solver == "dense" and options.batches is None

    def at(self, part: Part) -> Tensor:
        """Where the form evaluates training gradients, [P]."""
        return part.perturbed if self.form.perturbed else part.point.omega

    def H(self, part: Part) -> Curvature:  # noqa: N802 — the formula's name
        """The curvature there."""
        return part.at_perturbed if self.form.perturbed else part.at_omega

    def jvp(self, part: Part, d_omega: Tensor, d_g: Tensor) -> Tensor:
        """The change of ê along changes of ω and g, [P, m] each: D d_omega + E d_g."""
        if self.rule.rho == 0:
            return torch.zeros_like(d_g)
        point = _as(part.point, d_g)
        d_memory = d_g if self.moves_memory else d_g.new_zeros(len(point.memory), d_g.shape[1])
        return self.rule.jvp(point, d_omega.T, d_g.T, d_memory.T)[0].T

    def vjp(self, part: Part, v: Tensor) -> tuple[Tensor | float, Tensor]:
        """Dᵀ v and Eᵀ v for v [P, m]."""
        if self.rule.rho == 0:
            return 0.0, torch.zeros_like(v)
        point = _as(part.point, v)
        d_memory = v.new_zeros(v.shape[1], len(point.memory))
        through_omega, through_g, through_memory = self.rule.vjp(point, v.T, d_memory)
        through_g = through_g + through_memory if self.moves_memory else through_g
        return through_omega if isinstance(through_omega, float) else through_omega.T, through_g.T

    def product(self, v: Tensor) -> Tensor:
        """A v = H (v + D v + E H₀ v) + δ v."""
        return self._product(v, self.damping)

    def _product(self, v: Tensor, damping: float) -> Tensor:
        total = damping * v
        for part in self.parts:
            if not self.coupled:
                total = total + part.share * self.times(self.H(part), v)
                continue
            moved = self.jvp(part, v, self.times(part.at_omega, v))
            total = total + part.share * self.rule.less_decay(self.times(self.H(part), v + moved), moved)
        return total

    def transpose_product(self, v: Tensor) -> Tensor:
        """Aᵀ v = (I + Dᵀ + H₀ Eᵀ) H v + δ v."""
        total = self.damping * v
        for part in self.parts:
            Hv = self.times(self.H(part), v)
            if self.coupled:
                through_omega, through_g = self.vjp(part, self.rule.less_decay(Hv, v))
                Hv = Hv + through_omega + self.times(part.at_omega, through_g)
            total = total + part.share * Hv
        return total

    def dense(self) -> Tensor:
        """A itself, float64 [P, P]."""
        A = self._undamped().clone()
        A.diagonal().add_(self.damping)
        return A

    def factors(self) -> Factors:
        """A's factors; those of the run's latest dense solve are kept."""
        key, cache = (self.key, self.damping), kept(self.run)
        if cache.get("factors", (None,))[0] != key:
            cache.pop("factors", None)  # its memory is free before as much is taken again
            cache["factors"] = (key, Factors.of(self.dense()))
        factors: Factors = cache["factors"][1]
        return factors

    @property
    def key(self) -> tuple[Any, ...]:
        """What A without δI depends on, within a run."""
        return self.form.perturbed, self.coupled, self.options.curvature, self.options.batches

    def preconditioner(self) -> LowRank | None:
        """From the curvature's leading eigenvectors, computed once a run as far as dampings share it.

        None for solvers that take none.

        Raises:
            SamattrError: if there are not so many.
        """
        rank = self.options.preconditioner_rank
        if rank == 0:
            return None
        if rank >= self.size:
            raise SamattrError(f"preconditioner_rank must be less than the number of parameters, {self.size}")
        if self.solver not in ("cg", "gmres"):
            return None
        cache = kept(self.run)
        if (key := ("leading", self.key, rank)) not in cache:
            U = self._leading(rank)
            cache[key] = U, (U.T @ self._product(U, 0.0)).double()
        U, along = cache[key]
        damping = self.damping * torch.eye(rank).to(along)
        inverse = torch.linalg.inv_ex(along + damping).inverse
        return LowRank(U, inverse.to(U), float(along.diagonal().abs().min()) + self.damping)

    def _leading(self, rank: int) -> Tensor:
        """The leading eigenvectors of the mean of H over parts, [P, rank]: coupled systems take those too."""
        cache = kept(self.run)
        if (key := ("eigenvectors", self.key[0], *self.key[2:], rank)) not in cache:

            def product(v: Tensor) -> Tensor:
                return torch.stack([part.share * self.H(part).product(v) for part in self.parts]).sum(0)

            cache[key] = top_eigenvectors(product, self.run.parameters, rank)
        vectors: Tensor = cache[key]
        return vectors

    def _undamped(self) -> Tensor:
        """A without δI, computed once a run: dampings share it."""
        if not self.coupled and self.options.batches is None:
            return self.H(self.parts[0]).dense()
        cache = kept(self.run)
        if (key := ("undamped", self.key)) not in cache:
            total = self.run.parameters.new_zeros(self.size, self.size, dtype=torch.float64)
            for part in self.parts:
                H = self.H(part).dense()
                if self.coupled:
                    moved = self.jvp(part, torch.eye(self.size).to(H), part.at_omega.dense())
                    H = self.rule.less_decay(H + H @ moved, moved)
                total += part.share * H
            cache[key] = total
        matrix: Tensor = cache[key]
        return matrix

    def times(self, H: Curvature, v: Tensor) -> Tensor:
        """H v: by the matrix where the solve makes it, and nowhere else."""
        return H.matrix_product(v) if self.by_matrix else H.product(v)

    def gradient_diagnostics(self) -> dict[str, Any]:
        """‖g‖, its mean over parts where there are several, and ρ/‖g‖: how near a fixed point the run ended."""
        points = [(part.share, part.point) for part in self.parts]
        norm = sum(share * float(torch.linalg.vector_norm(at.g)) for share, at in points)
        felt = sum(
            share * float(torch.linalg.vector_norm(self.rule.less_decay(at.g, at.omega))) for share, at in points
        )
        return {"grad_norm": norm, "rho_over_grad_norm": self.rule.rho / felt if felt > 0 else math.inf}

    def diagnostics(self, solution: Solution) -> dict[str, Any]:
        """What must be known beside the result: how well the system was solved, and how large ρ/‖g‖ was."""
        return self.gradient_diagnostics() | {
            "solver": solution.solver,
            "status": solution.status.value,
            "residual": solution.residual,
            "iterations": solution.iterations,
            "options": asdict(self.options),
        }


def _as(point: Point, like: Tensor) -> Point:
    omega, g, memory, g_perturbed = (tensor.to(like) for tensor in point[:4])
    return Point(omega, g, memory, g_perturbed)
