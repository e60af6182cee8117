"""`dattri-if-explicit`, `-cg`, `-lissa` and `dattri-datainf`: influence functions, by dattri (Deng et al. 2024).

    s[k, q] = (1/n) ⟨∇ℓ_q(ω*), A⁻¹ ∇ℓ_k(ω*)⟩,    A = H + (δ + λ) I,    H the Hessian of the mean loss

The first solves with the Hessian itself, the second by conjugate gradients, the third by the stochastic series of
LiSSA (Agarwal et al. 2017): x ← v + x − (A_b/σ) x, on b points drawn anew for each step and query, and A⁻¹v ≈ x/σ. The
first two are our `if` with the same damping. DataInf (Kwon et al. 2024, Eq. 5) puts the mean of inverses in the place
of the inverse of a mean, a layer at a time: A⁻¹ ≈ (1/n) Σ_i (∇ℓ_i ∇ℓ_iᵀ + (δ + λ) I)⁻¹. All of it is dattri's, by its
attributors' own steps, in the run's own precision. The network is taken as a plain one: it knows no perturbation.

Traps: (1) of training points in batches dattri sums what it solves for each batch (issue 241): they are given as one
batch, and what that takes is checked before; (2) its scores have no 1/n; (3) its conjugate gradients do not read their
tolerance, and go on until they divide 0 by 0: they are asked for more and more steps until *our* residual is small,
and refused where it never is; (4) LiSSA adds σ times its damping, and makes float32 of inputs: it is given (δ + λ)/σ
and the numbers of points for inputs; (5) its loop over batches of training points solves anew for each, and fills a
float32 table: the steps are called once each; (6) it puts the network into eval mode. Its EK-FAC is left out, since it
is none (see `docs/rivals.md`).
"""

import math
from typing import Any

import torch
from torch import Tensor

from baselines.dattri_peer import DattriPeer
from baselines.libraries import positive_damping, total_damping
from samattr_ref.data import Examples
from samattr_ref.implicit.options import TUNE, TUNE_LARGE
from samattr_ref.registry import Family, Library, method
from samattr_ref.run import Run
from samattr_ref.scores import Scores
from samattr_ref.solvers.dense import DENSE_LIMIT
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.memory import check_fits
from samattr_ref.support.seeds import stream_seed

DATTRI = Library("dattri", "dattri", "pip install 'samattr[peers]'")

LARGEST = 2**32
"""Bytes that dattri may take at once where no bound is given: its forward-mode Hessian knows no parts."""

FIRST_STEPS = 8
"""Steps of conjugate gradients that are tried first; then twice as many, and so on."""

MORE = "more damping, or dattri-if-explicit where it fits"
"""What to do where conjugate gradients do not end."""

FACTS: dict[str, Any] = {
    "linear": True,
    "query_bytes": None,
    "family": Family.IMPLICIT,
    "compared": False,
    "library": DATTRI,
}


@method(
    "dattri-if-explicit",
    summary="influence function by the Hessian itself, by dattri",
    source="Koh & Liang 2017",
    tune={"damping": TUNE["damping"]},
    label="IF, explicit (dattri)",
    rank=71,
    benchmark={"damping": 0.3},
    **FACTS,
)
def dattri_if_explicit(run: Run, queries: Examples, *, damping: float = 0.01) -> Scores:
    """Scores [n_train, n_query] in nats, linear in the query.

    Args:
        run: The run.
        queries: The queries.
        damping: δ >= 0, to which the recipe's λ comes.

    Raises:
        SamattrError: for an option out of range, a network that dattri cannot follow or that is too large for it, or a
            system that was not solved.
    """
    from dattri.algorithm.influence_function import IFAttributorExplicit

    total, P = total_damping(run, damping), len(run.parameters)
    needed = 2 * P * run.parameters.nbytes + P * run.n_train * run.objective.activation_bytes(run.train.x)
    if P > DENSE_LIMIT or needed > LARGEST:
        raise SamattrError(f"dattri-if-explicit would take about {needed} bytes at once here: dattri-if-cg takes less")
    check_fits(needed, "the Hessian as dattri makes it")
    with DattriPeer(run, "dattri-if-explicit") as peer:
        solve = peer.solver(IFAttributorExplicit, regularization=total)
        held = peer.held(solve, damping, _tolerance(run), "more damping")
        return peer.scores(queries, held, {"damping": damping}, run.n_train)


@method(
    "dattri-if-cg",
    summary="influence function by conjugate gradients, by dattri",
    source="Martens 2010",
    tune={"damping": TUNE["damping"]},
    tune_large={"damping": TUNE_LARGE["damping"]},
    label="IF, CG (dattri)",
    rank=72,
    benchmark={"damping": 0.3},
    full_size={"damping": 0.03},
    **FACTS,
)
def dattri_if_cg(run: Run, queries: Examples, *, damping: float = 0.01, max_iterations: int = 256) -> Scores:
    """Scores [n_train, n_query] in nats, linear in the query.

    Args:
        run: The run.
        queries: The queries.
        damping: δ >= 0, to which the recipe's λ comes.
        max_iterations: Most steps of one solve.

    Raises:
        SamattrError: for an option out of range, a network that dattri cannot follow, or a system that was not solved.
    """
    from dattri.algorithm.influence_function import IFAttributorCG

    total = total_damping(run, damping)
    if max_iterations < 1:
        raise SamattrError(f"max_iterations must be at least 1, not {max_iterations}")
    with DattriPeer(run, "dattri-if-cg") as peer:
        peer.try_products()

        def solve(rows: Tensor) -> Tensor:
            found, left, steps = torch.zeros_like(rows), rows.any(1).nonzero()[:, 0], min(FIRST_STEPS, max_iterations)
            while True:
                solved = peer.solver(IFAttributorCG, max_iter=steps, regularization=total)(rows[left])
                residuals = peer.residuals(solved, rows[left], damping)
                found[left] = solved
                left = left[~(residuals <= _tolerance(run))]
                if len(left) == 0 or steps == max_iterations:
                    return found
                steps = min(2 * steps, max_iterations)

        held = peer.held(solve, damping, _tolerance(run), MORE)
        return peer.scores(queries, held, {"damping": damping}, run.n_train)


@method(
    "dattri-if-lissa",
    summary="influence function by the stochastic series of LiSSA, by dattri",
    source="Agarwal et al. 2017",
    tune={"damping": (1e-3, 1e-2, 3e-2, 1e-1)},
    tune_large={"damping": (0.3, 1.0), "scale": (10.0, 100.0)},
    label="IF, LiSSA (dattri)",
    rank=73,
    benchmark={"damping": 0.3, "depth": 10, "scale": 100.0},
    **FACTS,
)
def dattri_if_lissa(
    run: Run,
    queries: Examples,
    *,
    damping: float = 0.01,
    depth: int = 1000,
    batch: int = 32,
    repeats: int = 1,
    scale: float = 10.0,
    seed: int = 0,
) -> Scores:
    """Scores [n_train, n_query] in nats, linear in the query but for what is drawn.

    Args:
        run: The run.
        queries: The queries.
        damping: δ >= 0, to which the recipe's λ comes.
        depth: Steps of the series.
        batch: b, points of each step; with all of them nothing is left to chance.
        repeats: Series that are averaged.
        scale: σ, at least half of the curvature of any batch: below, the series diverges.
        seed: Seed of the points that are drawn, beside the workload's own. Which queries are scored together, and so
            the bound on memory, changes what is drawn for each.

    Raises:
        SamattrError: for an option out of range, a network that dattri cannot follow, or a series that ends further
            away than it began.
    """
    from dattri.algorithm.influence_function import IFAttributorLiSSA

    total = total_damping(run, damping)
    for name, value in {"depth": depth, "batch": batch, "repeats": repeats}.items():
        if value < 1:
            raise SamattrError(f"{name} must be at least 1, not {value}")
    if not total < scale < float("inf"):
        raise SamattrError(f"scale must be a finite number larger than the damping with λ, {total}, not {scale}")
    size = min(batch, run.n_train)
    with DattriPeer(run, "dattri-if-lissa") as peer:
        peer.try_products()
        torch.manual_seed(stream_seed(run.workload.seed, "dattri-if-lissa", seed))
        settings = {"batch_size": size, "recursion_depth": depth, "num_repeat": repeats, "scaling": scale}
        solve = peer.solver(IFAttributorLiSSA, damping=total / scale, **settings)
        held = peer.held(solve, damping, 1.0, "a larger scale or batch, or more damping")
        return peer.scores(queries, held, {"damping": damping}, size)


@method(
    "dattri-datainf",
    summary="influence with a mean of inverses in the inverse's place, by dattri",
    source="Kwon et al. 2024",
    tune={"damping": (1e-3, 1e-2, 3e-2, 1e-1)},
    label="DataInf (dattri)",
    rank=78,
    benchmark={"damping": 0.3},
    full_size={"damping": 0.03},
    **FACTS,
)
def dattri_datainf(run: Run, queries: Examples, *, damping: float = 0.01) -> Scores:
    """Scores [n_train, n_query] in nats, linear in the query.

    Args:
        run: The run.
        queries: The queries.
        damping: δ >= 0; the recipe's λ comes to it, and one of the two must be larger than 0.

    Raises:
        SamattrError: for an option out of range, a network that dattri cannot follow, or one with so many parameters
            and points that their gradients cannot be held at once.
    """
    from dattri.algorithm.influence_function import IFAttributorDataInf

    total, needed = positive_damping(run, damping), 2 * run.n_train * run.parameters.nbytes
    if needed > LARGEST:
        raise SamattrError(f"dattri-datainf holds all gradients at once, about {needed} bytes here: fewer points")
    check_fits(needed, "all gradients of dattri-datainf")
    with DattriPeer(run, "dattri-datainf") as peer:
        solve = peer.solver(IFAttributorDataInf, regularization=total)
        return peer.scores(queries, solve, {"damping": damping}, points=0, pairs=3)


def _tolerance(run: Run) -> float:
    """The relative residual that counts as solved."""
    return max(1e-6, 4 * math.sqrt(torch.finfo(run.parameters.dtype).eps))
