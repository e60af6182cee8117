"""Attribution from the condition that training ended in: the family of `if`, `sam-if`, `sam-hif`, `sam-hif-implicit`.

At a fixed point of full-batch SAM, G(ω; w) = ∇L(ω + ê(ω; w); w) = 0. Differentiating by −w_k, with H = ∇²L at ω* + ê,
H₀ = ∇²L at ω*, E = ∂ê/∂g:

    (H + H E H₀) Δ_k = (1/n) [∇ℓ_k(ω* + ê) + H E ∇ℓ_k(ω*)]

since ê moves with ω through ∂ê/∂ω = E H₀ and with w_k through E ∂g/∂w_k. The forms keep more or less of this:

| form             | evaluated at | coupling H E H₀ | removal term H E ∇ℓ_k(ω*) |
| ---------------- | ------------ | --------------- | ------------------------- |
| if               | ω*           | –               | –                         |
| sam-if           | ω* + ê       | –               | –                         |
| sam-hif          | ω* + ê       | yes             | –                         |
| sam-hif-implicit | ω* + ê       | yes             | yes                       |

Minibatch SAM perturbs by each batch's own gradient: there is no one ê. What its noise averages out at is the mean over
batches of G_b, so with `batches` = M every term is the mean over the last M batches b, each at ω* + ê_b with its own H,
H₀ and E, and a point takes part in the batches that hold it, by 1/|b| each.

A variant of SAM has its own E, and D = ∂ê/∂ω at fixed g where ê depends on ω itself (ASAM): then ∂ê/∂ω = D + E H₀. Its
randomness is averaged over (ESAM's mask) or left out (ESAM's choice of points, GSAM's turn of the direction), and
Friendly-SAM's memory is what it is a moving average of, the full gradient.

Where weight decay is the optimiser's, λω is added at ω and ê is made of the data's gradient: of H, what stands before ê
and its changes is then without its λI, and so is H₀.

Scores are a function of the run and the options alone, bit for bit, whatever was computed about the run before: what is
kept with it is what would be computed again, and iterations begin at an earlier solution in `warm_starts` alone.

Damping δ is added to the whole matrix. Scores are linear in the query, s[k, q] = ⟨∇ℓ_q(ω*), Δ_k⟩, and take one solve
a query with the transposed matrix, whatever n is; a group of removed points takes one solve for its Δ.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from samattr_ref.data import Examples
from samattr_ref.growth import Growth
from samattr_ref.implicit.options import TUNE, TUNE_LARGE, Form, ImplicitOptions
from samattr_ref.implicit.removal import removal, through_removal
from samattr_ref.implicit.system import ImplicitSystem
from samattr_ref.implicit.warm_starts import latest_solution
from samattr_ref.registry import Family, method
from samattr_ref.run import Run
from samattr_ref.scores import Scores
from samattr_ref.solvers.solution import Solution
from samattr_ref.solvers.solve import solve
from samattr_ref.solvers.systems import Transposed
from samattr_ref.support.memory import chunk_bytes
from samattr_ref.support.seeds import tensor_digest

FACTS: dict[str, Any] = {
    "tune": TUNE,
    "tune_large": TUNE_LARGE,
    "linear": True,
    "any_functional": True,
    "family": Family.IMPLICIT,
    "growth": Growth("Q K n F", n=1, P=1, Q=1),
    "benchmark": {"curvature": "gauss-newton", "damping": 0.3},  # so much that iterations are as many at every size
    "full_size": {"curvature": "gauss-newton", "damping": 0.03, "tolerance": 1e-2, "max_iterations": 200},
}
"""What is true of the methods of this family, as `samattr_ref.registry.method` takes it."""


def implicit_products(run: Run, directions: Tensor, form: Form, options: ImplicitOptions) -> Scores:
    """⟨d, Δ_k⟩ of every training point k and direction d, by one solve a direction: ⟨A⁻ᵀ d, r_k⟩.

    Args:
        run: The run.
        directions: d, shape [P, m].
        form: The terms to keep.
        options: Curvature, damping and solver.

    Returns:
        Scores [n_train, m].

    Raises:
        SolverError: if the system was not solved.
    """
    system = ImplicitSystem(run, form, options)
    solution = _solve(system, directions, transposed=True)
    return Scores(through_removal(system, solution.x) / run.n_train, system.diagnostics(solution))


def implicit_change(run: Run, groups: Sequence[Tensor], form: Form, options: ImplicitOptions) -> Tensor:
    """Δ of removing each group of points together, by one solve a group: [n_groups, P].

    Raises:
        SolverError: if the system was not solved.
    """
    system = ImplicitSystem(run, form, options)
    return _solve(system, torch.stack([removal(system, group) for group in groups], dim=1)).x.T.contiguous()


def implicit_method(
    name: str,
    form: Form,
    *,
    options: type[ImplicitOptions] = ImplicitOptions,
    **facts: Any,
) -> Callable[..., Scores]:
    """Register a form as a method, with its scores and its parameter change.

    Args:
        name: The method's name.
        form: The terms that it keeps.
        options: `ImplicitOptions`, or a subclass with other defaults.
        **facts: What else `samattr_ref.registry.method` takes, in the place of `FACTS`.

    Returns:
        The registered function `(run, queries, **options)`.
    """

    def change(run: Run, groups: Sequence[Tensor], **chosen: Any) -> Tensor:
        return implicit_change(run, groups, form, options(**chosen))

    def scores(run: Run, queries: Examples, **chosen: Any) -> Scores:
        return implicit_products(run, run.query_gradients(queries).T.contiguous(), form, options(**chosen))

    scores.__module__ = sys._getframe(1).f_globals["__name__"]  # where it is defined, as collections.namedtuple says it
    return method(name, change=change, options=options, **{**FACTS, **facts})(scores)


def _solve(system: ImplicitSystem, b: Tensor, transposed: bool = False) -> Solution:
    """A⁻¹ B, or A⁻ᵀ B.

    Raises:
        SolverError: if the system was not solved.
    """
    options, preconditioner, latest = system.options, system.preconditioner(), latest_solution.get()
    if b.nbytes > chunk_bytes():  # solutions too large for a chunk are not kept
        latest = None
    key = None if latest is None else (system.key, transposed, tensor_digest(b))
    solution = solve(
        Transposed(system) if transposed else system,
        b,
        options.solver,
        tolerance=options.tolerance,
        max_iterations=options.max_iterations,
        order=options.order,
        scale=options.scale,
        start=next((x for run, known, x in latest or [] if run is system.run and known == key), None),
        preconditioner=preconditioner.T if preconditioner and transposed else preconditioner,
    ).require()
    if latest is not None and solution.solver in ("cg", "gmres"):
        latest[:] = [(system.run, key, solution.x)]
    return solution
