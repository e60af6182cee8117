"""`random`: standard normal scores, the floor that every method must clear."""

import torch

from samattr_ref.data import Examples
from samattr_ref.growth import Growth
from samattr_ref.registry import Family, method
from samattr_ref.run import Run
from samattr_ref.scores import Scores
from samattr_ref.support.seeds import stream


@method(
    "random",
    summary="standard normal scores",
    source="–",
    any_functional=True,
    query_bytes=None,
    label="random",
    family=Family.CHANCE,
    rank=110,
    growth=Growth("n Q", n=1, Q=1),
    full_size={},
    compared=False,
)
def random_scores(run: Run, queries: Examples, *, seed: int = 0) -> Scores:
    """Scores [n_train, n_query] from a generator seeded by `seed` and the workload's own."""
    generator = stream(run.workload.seed, "random scores", seed)
    return Scores(torch.randn(run.n_train, len(queries), generator=generator, dtype=torch.float64).to(run.parameters))
