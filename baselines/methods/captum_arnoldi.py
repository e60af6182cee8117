"""`captum-arnoldi`: influence in the leading eigenvectors of the Hessian, by captum (Schioppa et al. 2022, Section 3).

    s[k, q] = ⟨∇ℓ_q(ω*), V (n(Λ + (δ + λ) I))⁻¹ Vᵀ ∇ℓ_k(ω*)⟩

Arnoldi's iteration from a random vector spans a Krylov space of the Hessian of the training losses; Λ are the largest
Ritz values there and V their vectors. All of it is captum's, by its `ArnoldiInfluenceFunction`. The network is taken as
a plain one: SAM's perturbation is not in it. With a whole Krylov space and a Hessian that is positive definite, this is
`if` with the same damping.

Traps: (1) captum's Hessian is that of the *sum* of the losses, so that it is given n(δ + λ), and its scores are in nats
with no further 1/n; (2) its eigenvectors are those of a matrix that rounding has made unsymmetric, and a Krylov space
that is taken further than it reaches has some of them twice: with R = V (n(Λ + (δ + λ)I))^(−1/2) as captum returns it,
RᵀAR = I is held with our own products, and what is not so is refused; (3) directions of negative curvature are left
out, without a word: `eigenvectors` of the diagnostics says how many are in; (4) where the Krylov space ends before the
iterations do, on small networks, its last direction is thrown away, which can be a fifth of a score; (5) it is not
exported at the top of captum.
"""

import torch
from torch import Tensor

from baselines.captum_gradients import CAPTUM, batch_length, batches, loss, right_way
from baselines.libraries import apart, followed, network_at, total_damping
from samattr_ref.data import Examples
from samattr_ref.implicit.options import TUNE
from samattr_ref.registry import Family, method
from samattr_ref.run import Run
from samattr_ref.scores import Scores
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.memory import check_fits
from samattr_ref.support.seeds import stream_seed

LEAST_NORM = 1e-4
"""A new direction of the Krylov space that is shorter, beside the Hessian of the mean loss, ends the iteration."""

TOLERANCE = 1e-2
"""How far RᵀAR may be from the identity."""


@method(
    "captum-arnoldi",
    summary="influence in the Hessian's leading eigenvectors, by captum",
    source="Schioppa et al. 2022",
    tune={"damping": TUNE["damping"]},
    linear=True,
    query_bytes=None,
    label="Arnoldi (captum)",
    family=Family.IMPLICIT,
    rank=77,
    benchmark={"damping": 0.3, "dimensions": 5, "iterations": 10},
    full_size={"damping": 0.03},
    compared=False,
    library=CAPTUM,
)
def captum_arnoldi(
    run: Run, queries: Examples, *, damping: float = 0.01, dimensions: int = 50, iterations: int = 200, seed: int = 0
) -> Scores:
    """Scores [n_train, n_query] in nats, linear in the query.

    Args:
        run: The run.
        queries: The queries.
        damping: δ >= 0, to which the recipe's λ comes.
        dimensions: How many eigenvectors at most.
        iterations: Dimensions of the Krylov space that they are looked for in, and one more.
        seed: Seed of the vector that it starts from, beside the workload's own.

    Raises:
        SamattrError: for an option out of range, a network that captum does not take right gradients of, or
            eigenvectors that are none.
    """
    total = total_damping(run, damping)
    if not 1 <= dimensions < iterations:
        raise SamattrError(f"dimensions must be at least 1 and less than iterations, not {dimensions} of {iterations}")
    check_fits((iterations + dimensions + 8) * run.parameters.nbytes, "Arnoldi's iteration")
    with apart(run, "captum-arnoldi"):
        from captum.influence._core.arnoldi_influence_function import ArnoldiInfluenceFunction

        module = network_at(run, run.parameters)
        by_hooks = right_way(run, module, "captum-arnoldi")
        with followed("captum"):
            peer = ArnoldiInfluenceFunction(
                module,
                batches(run.train, batch_length(run)),
                "ω*",
                checkpoints_load_func=lambda *_: 1.0,
                loss_fn=loss(by_hooks),
                sample_wise_grads_per_batch=by_hooks,
                projection_dim=dimensions,
                seed=stream_seed(run.workload.seed, "captum-arnoldi", seed),
                arnoldi_dim=iterations,
                arnoldi_tol=LEAST_NORM * run.n_train,
                hessian_reg=run.n_train * total,
                projection_on_cpu=False,
            )
        _check(run, [torch.cat([part.detach().reshape(-1) for part in vector]) for vector in peer.R], damping)
        with followed("captum"):
            asked = batches(queries, batch_length(run))
            embedded = peer.compute_intermediate_quantities(asked, aggregate=queries.pooled, return_on_cpu=False)
            trained = peer.compute_intermediate_quantities(peer.train_dataloader, return_on_cpu=False)
        values: Tensor = (trained @ embedded.T).detach()
    values = values / len(queries.x) if queries.pooled else values
    return Scores(values.to(run.parameters), {"damping": damping, "eigenvectors": len(peer.R)})


def _check(run: Run, vectors: list[Tensor], damping: float) -> None:
    """Hold RᵀAR = I for A = n(H + (δ + λ) I), which proves the library's Hessian and eigenvectors there.

    Raises:
        SamattrError: if it is not so.
    """
    R = torch.stack(vectors, dim=1).to(run.parameters)
    AR = run.objective.hvp(run.parameters, run.train.x, run.train.y, R) + damping * R
    away = (run.n_train * R.T @ AR - torch.eye(R.shape[1]).to(R)).abs().max()
    if not bool(away <= TOLERANCE):
        raise SamattrError(
            f"captum's eigenvectors of the Hessian are none, by {float(away):.2g}: fewer iterations of captum-arnoldi"
        )
