"""The setting on which no published method correlates with leave-one-out: MNIST, 5,000 points, a three-layer MLP."""

from collections.abc import Sequence

import pandas as pd

from baselines.studies.cases import Case
from baselines.studies.chosen import not_of_family
from baselines.studies.loo_and_lds import fidelity
from samattr_ref.registry import Family
from samattr_ref.workload import Workload

METHODS = not_of_family(Family.IMPLICIT)
SETTINGS = {"n_train": 5000, "n_query": 100, "n_removed": 100, "dtype": "float64"}
FRACTIONS = (0.01, 0.05, 0.1, 0.5)
SUBSETS = 30


def measure(workload: Workload, methods: Sequence[str], fractions: Sequence[float], subsets: int) -> pd.DataFrame:
    """The methods that need no solve a query, against leave-one-out and against subsets."""
    return fidelity(workload, methods, fractions, subsets, {name: {} for name in methods})


CASES = {
    "beyond": [
        Case("mnist-mlp", SETTINGS, {"methods": METHODS, "fractions": FRACTIONS, "subsets": SUBSETS}),
    ]
}
