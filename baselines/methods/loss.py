"""`loss`: a control that looks at the training points alone.

s[k, q] = −ℓ_k(ω*) for every query: what a point that is not fitted is expected to do is harm. Ranking by loss is the
usual way to find wrong labels (Northcutt et al. 2021 begin with it). Where a larger value of what is attributed is
better, the sign is the other.
"""

from samattr_ref.data import Examples
from samattr_ref.growth import Growth
from samattr_ref.registry import Family, method
from samattr_ref.run import Run
from samattr_ref.scores import Scores


@method(
    "loss",
    summary="minus the training loss at ω*, the same for every query",
    source="control",
    any_functional=True,
    query_bytes=None,
    label="loss",
    family=Family.CONTROL,
    rank=106,
    growth=Growth("n F", n=1, P=1),
    full_size={},
    compared=False,
)
def loss(run: Run, queries: Examples) -> Scores:
    """Scores [n_train, n_query], each row constant."""
    return Scores(-queries.functional.sign * run.query_losses(run.train)[:, None].repeat(1, len(queries)))
