"""`gradient-norm`: a control that looks at the training points alone.

s[k, q] = −‖∇ℓ_k(ω*)‖ for every query: what a point that still pulls is expected to do is harm. Wrong labels have large
gradients, so that an Influence Score must find more of them than this to have said anything of influence. Where a
larger value of what is attributed is better, the sign is the other.
"""

from samattr_ref.data import Examples
from samattr_ref.growth import Growth
from samattr_ref.registry import Family, method
from samattr_ref.run import Run
from samattr_ref.scores import Scores


@method(
    "gradient-norm",
    summary="minus the gradient norm at ω*, the same for every query",
    source="control",
    any_functional=True,
    query_bytes=None,
    label="gradient norm",
    family=Family.CONTROL,
    rank=104,
    growth=Growth("n F", n=1, P=1),
    full_size={},
    compared=False,
)
def gradient_norm(run: Run, queries: Examples) -> Scores:
    """Scores [n_train, n_query], each row constant."""
    norms = run.objective.gradient_norms(run.parameters, run.train.x, run.train.y)
    return Scores(-queries.functional.sign * norms[:, None].repeat(1, len(queries)))
