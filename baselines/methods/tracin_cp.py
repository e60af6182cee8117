"""`tracin-cp`: TracIn from C checkpoints (Pruthi et al. 2020, Section 3.3).

    s[k, q] = Σ_c W_{k,c} ⟨∇ℓ_k(ω_c), ∇ℓ_q(ω_c)⟩

with W_{k,c} the segment's Σ_t η_t B_{k,t}/|b_t|, so that scores are in nats like those of `tracin`.

This differs from the paper in: (1) the paper weights a checkpoint by its step size alone.
"""

from baselines.methods.tracin import trajectory_products
from samattr_ref.data import Examples
from samattr_ref.growth import Growth
from samattr_ref.registry import Family, factored_query, method
from samattr_ref.run import Run
from samattr_ref.scores import Scores


@method(
    "tracin-cp",
    summary="gradient dot products at C checkpoints",
    source="Pruthi et al. 2020",
    linear=True,
    any_functional=True,
    query_bytes=factored_query,
    label="TracIn-CP",
    family=Family.TRAJECTORY,
    rank=90,
    growth=Growth("C (n + m) F", n=1, P=1, C=1, Q=1),
    benchmark={"checkpoints": 2},
    full_size={"checkpoints": 10},
    compared=False,  # `tracin`, over all steps, stands for both
)
def tracin_cp(run: Run, queries: Examples, *, checkpoints: int = 10) -> Scores:
    """Scores [n_train, n_query], linear in the query.

    Args:
        run: The run.
        queries: The queries.
        checkpoints: C, evenly spaced.

    Raises:
        SamattrError: if C is larger than the number of steps.
    """
    return trajectory_products(run, queries, checkpoints)
