"""`grad-dot`: the gradient dot product at ω*, the floor of what gradients know.

s[k, q] = (1/n) ⟨∇ℓ_k(ω*), ∇ℓ_q(ω*)⟩
"""

from samattr_ref.data import Examples
from samattr_ref.growth import Growth
from samattr_ref.registry import Family, factored_query, method
from samattr_ref.run import Run
from samattr_ref.scores import Scores


@method(
    "grad-dot",
    summary="gradient dot products at ω*",
    source="Charpiat et al. 2019",
    linear=True,
    any_functional=True,
    query_bytes=factored_query,
    label="Grad-Dot",
    family=Family.GRADIENT,
    rank=100,
    growth=Growth("n F", n=1, P=1, Q=1),
    full_size={},
)
def grad_dot(run: Run, queries: Examples) -> Scores:
    """Scores [n_train, n_query], linear in the query."""
    directions = run.query_directions(queries)
    products = run.objective.gradient_products(run.parameters, run.train.x, run.train.y, directions)
    return Scores(products.div_(run.n_train))
