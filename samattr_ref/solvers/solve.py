"""Solve A X = B by a solver's name.

Each solver returns its solution with a status, the relative residual that was measured by one more product with A, and
the number of iterations. None returns numbers as if nothing had happened: `Solution.require` makes a failure an error.
"""

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from samattr_ref.solvers.cg import ConjugateGradients
from samattr_ref.solvers.dense import DENSE_LIMIT, Dense, dense_bytes
from samattr_ref.solvers.gmres import Gmres
from samattr_ref.solvers.neumann import Neumann
from samattr_ref.solvers.solution import Solution
from samattr_ref.solvers.systems import Identity, LinearSystem, Preconditioner
from samattr_ref.support.errors import SolverError, unknown_name
from samattr_ref.support.memory import fits

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
"""The relative residual that counts as solved, by the dtype of the products."""

SOLVERS: dict[str, type[Any]] = {"dense": Dense, "cg": ConjugateGradients, "gmres": Gmres, "neumann": Neumann}
"""The solvers by name: each is made of those of `solve`'s settings that it has, and called with A and B."""


def solve(
    system: LinearSystem,
    b: Tensor,
    solver: str = "auto",
    *,
    tolerance: float | None = None,
    max_iterations: int = 2000,
    order: int = 50,
    scale: float | None = None,
    start: Tensor | None = None,
    preconditioner: Preconditioner | None = None,
) -> Solution:
    """Solve A X = B.

    Args:
        system: A, shape [P, P].
        b: B, shape [P, m].
        solver: `dense` (LU in float64), `cg` (conjugate gradients; on the normal equations where A is not symmetric),
            `gmres`, `neumann` (a truncated series), or `auto`: `dense` up to `DENSE_LIMIT` parameters, else `cg` or
            `gmres` by symmetry.
        tolerance: Relative residual that counts as solved; by default 1e-10 in float64, 1e-4 in float32.
        max_iterations: Limit for `cg` and `gmres`.
        order: J, the number of terms after the first, for `neumann`.
        scale: s in Σ_j s (I − sA)^j, for `neumann`; by default 1/|λ_max| from a power iteration.
        start: Where `cg` and `gmres` begin, [P, m]; zero by default. It changes the number of steps, not the solution.
        preconditioner: P⁻¹ for `cg` and `gmres`. It changes the number of steps, not the solution.

    Returns:
        The solution, its status not yet looked at: call `require`.

    Raises:
        SolverError: if there is no solver of that name.
    """
    solver = resolved(solver, system.size, system.symmetric)
    if solver not in SOLVERS:
        raise SolverError(str(unknown_name("solver", solver, ["auto", *SOLVERS])))
    settings = {
        "tolerance": TOLERANCE[b.dtype] if tolerance is None else tolerance,
        "max_iterations": max_iterations,
        "order": order,
        "scale": scale,
        "start": start,
        "preconditioner": preconditioner or Identity(),
    }
    make: Any = SOLVERS[solver]
    solution: Solution = make(**{f.name: settings[f.name] for f in fields(make)})(system, b)
    return solution


def resolved(solver: str, size: int, symmetric: bool) -> str:
    """The solver that is meant for a matrix of that size, by its own name where it is not `auto`, see `solve`."""
    if solver != "auto":
        return solver
    if size <= DENSE_LIMIT and fits(dense_bytes(size)):
        return "dense"
    return "cg" if symmetric else "gmres"
