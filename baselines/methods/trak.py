"""`trak`: gradients of a margin, projected at random and decorrelated (Park et al. 2023, Section 3).

    s[k, q] ∝ (1/C) Σ_c φ_c(q)ᵀ (Φ_cᵀ Φ_c)⁻¹ φ_c(k) · (1/C) Σ_c (1 − p_c(k))

φ_c(z) = Rᵀ ∇m(z; ω_c) is the projected gradient of the margin m = ln(p/(1 − p)) of the label's probability p, Φ_c has
the rows φ_c(k) of all training points, and R is a matrix of standard normal numbers. All of it is traker's, by its
`TRAKer`, in float32 whatever the run's precision is. The network is taken as a plain one: SAM's perturbation is not in
it, and neither is the L2 term. Scores are those of the query's margin, positive where the point helps, and up to a
factor of the library's. They are no nats: they rank points, and that alone.

This differs from the paper in: (1) the C networks are states of one run, evenly spaced, the last of them ω*, and not
the ends of runs on random halves of the points; (2) no score is set to zero for being small.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from baselines.libraries import apart, check_gradients, followed, network_at, trial_points
from samattr_ref.data import Examples
from samattr_ref.registry import Family, Library, method
from samattr_ref.run import Run
from samattr_ref.scores import Scores
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.memory import block_length, chunks
from samattr_ref.support.seeds import stream_seed
from samattr_ref.trajectory import states

BLOCK = 2**28
"""Entries of the projection matrix that are made at once: all of it, and once, where it has no more."""

LARGEST = 512
"""Dimensions that gradients are projected to where nothing else is said: a quarter of the points, or so many."""

ALIKE = "the projected gradients are too much alike for the inverse in float32 that traker takes: a smaller projection"

TOLERANCE = 0.01
"""How far (ΦᵀΦ)⁻¹ ΦᵀΦ may be from the identity."""


@method(
    "trak",
    summary="projected gradients of the margin, decorrelated, by traker; ranks alone",
    source="Park et al. 2023",
    tune={"projection": (16, 32, 64, 128, 256, 512)},
    query_bytes=None,
    label="TRAK",
    family=Family.GRADIENT,
    rank=95,
    full_size={},
    compared=False,
    library=Library("trak", "traker", "pip install 'samattr[peers]'"),
)
def trak(run: Run, queries: Examples, *, projection: int | None = None, checkpoints: int = 1, seed: int = 0) -> Scores:
    """Scores [n_train, n_query], for ranks alone; of pooled queries their mean.

    Args:
        run: The run.
        queries: The queries.
        projection: How many dimensions gradients are projected to, fewer than there are training points and
            parameters; None takes a quarter of the training points, at most 512.
        checkpoints: C: ω* alone, or with evenly spaced states of the run before it.
        seed: Seed of the projection, beside the workload's own.

    Raises:
        SamattrError: for an option out of range, a network whose gradients are not what traker takes them for, or
            projected gradients that are too much alike to be decorrelated in float32.
    """
    size = min(LARGEST, max(1, run.n_train // 4)) if projection is None else projection
    least = min(run.n_train, len(run.parameters))
    if not 1 <= size < least:
        raise SamattrError(
            f"projection must be at least 1 and smaller than the {least} training points or parameters, not {size}"
        )
    if checkpoints != 1 and not 1 <= checkpoints <= run.n_steps:
        raise SamattrError(f"checkpoints must lie in 1..{run.n_steps}, the steps of the run, not {checkpoints}")
    with apart(run, "trak") as folder:
        from trak import TRAKer
        from trak.projectors import BasicProjector, ProjectionType

        class Projector(BasicProjector):  # type: ignore[misc]  # which comes without types
            def free_memory(self) -> None:
                """Keep the matrix: the library lets go of it before it projects the queries, and then misses it."""

        parameters, device = len(run.parameters), str(run.parameters.device)
        with followed("traker"):
            peer = TRAKer(
                network_at(run, run.parameters),
                "image_classification",
                run.n_train,
                save_dir=folder,
                device=device,
                projector=Projector(
                    parameters,
                    size,
                    stream_seed(run.workload.seed, "trak", seed),
                    ProjectionType.normal,
                    device,
                    block_size=max(1, BLOCK // parameters),
                ),
                logging_level=50,
                use_half_precision=False,
                grad_wrt=run.objective.layout.names,
            )
        _try_out(run, peer)
        values = _values(run, peer, queries, checkpoints)
    return Scores(values.mean(1, keepdim=True) if queries.pooled else values, {"projection": size})


def _try_out(run: Run, peer: Any) -> None:
    """Hold the library's gradients of the margin against ours of the loss, ∇ℓ = −(1 − p) ∇m, at a few points.

    Raises:
        SamattrError: if they are others.
    """
    few = trial_points(run)
    with followed("traker"):
        margins = peer.gradient_computer.compute_per_sample_grad((few.x, few.y))
        slopes = peer.gradient_computer.compute_loss_grad((few.x, few.y))
    names = run.objective.layout.names
    found = torch.cat([margins[name].reshape(len(few), -1) for name in names], dim=1) * -slopes
    check_gradients(run, found, few, "traker", "trak")


def _values(run: Run, peer: Any, queries: Examples, checkpoints: int) -> Tensor:
    """What the library makes of the states of the run, each a network of its ensemble: [n_train, queries]."""
    before = [i * run.n_steps // checkpoints for i in range(1, checkpoints)]
    omegas = [*(state.omega for _, state in states(run, before)), run.parameters]
    networks = {i: network_at(run, omega).state_dict() for i, omega in enumerate(omegas)}
    each = 3 * run.parameters.nbytes + 4 * run.objective.activation_bytes(run.train.x)
    for i, network in networks.items():
        peer.load_checkpoint(network, i)
        for part in chunks(run.n_train, block_length(each)):
            peer.featurize((run.train.x[part], run.train.y[part]), num_samples=part.stop - part.start)
    try:
        peer.finalize_features()
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise SamattrError(ALIKE) from error
    for i, network in networks.items():
        _check_inverse(peer, i)
        peer.start_scoring_checkpoint("queries", network, i, len(queries.x))
        for part in chunks(len(queries.x), block_length(each)):
            peer.score((queries.x[part], queries.y[part]), num_samples=part.stop - part.start)
    return torch.from_numpy(np.array(peer.finalize_scores("queries"))).to(run.parameters)


def _check_inverse(peer: Any, network: int) -> None:
    """Refuse features Φ (ΦᵀΦ)⁻¹ whose inverse is none.

    Raises:
        SamattrError: if they are not orthogonal to Φ as they should be.
    """
    peer.saver.load_current_store(network)
    gradients, features = (torch.as_tensor(peer.saver.current_store[kind]) for kind in ("grads", "features"))
    product = features.T @ gradients  # the identity, times a factor of the library's
    product /= product.diagonal().mean()
    if not bool((product - torch.eye(len(product))).abs().max() <= TOLERANCE):
        raise SamattrError(ALIKE)
