"""The setting on which no published method correlates with leave-one-out: MNIST, 5,000 points, a three-layer MLP."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from baselines.fidelity import fidelity
from reports.curves import describe
from reports.experiment import Case, Experiment
from reports.experiments import fidelity as page
from samattr_ref.workload import Workload

METHODS = ("sam-unrolled", "sam-gif", "tracin", "tracin-cp", "grad-dot", "random")
SETTINGS = {"n_train": 5000, "n_query": 100, "n_removed": 100, "dtype": "float64"}
FRACTIONS = (0.01, 0.05, 0.1, 0.5)
SUBSETS = 30
PUBLISHED = {"pearson": 0.023, "lds_0.5": 0.448}
"""The best published figures of any method, TRAK-50 in the README of dattri (Deng et al. 2024; bar charts, ± 0.005):
Pearson with LOO and LDS at half removed. Its leave-one-out drops an index, which shifts every later batch."""


def measure(workload: Workload, methods: Sequence[str], fractions: Sequence[float], subsets: int) -> pd.DataFrame:
    """The methods that need no solve a query, against leave-one-out and against subsets."""
    return fidelity(workload, methods, fractions, subsets, {name: {} for name in methods})


def draw(frame: pd.DataFrame) -> Figure:
    """LDS over the share of the points removed."""
    return page.draw(frame)


def caption(frame: pd.DataFrame) -> str:
    """What is shown."""
    published = f"Best published: Pearson {PUBLISHED['pearson']} with LOO, LDS {PUBLISHED['lds_0.5']} at half removed"
    return (
        f"MNIST, a 784-128-64-10 GELU MLP trained with SAM, float64 ({describe(frame)}); {SETTINGS['n_removed']} "
        f"points removed one at a time, {SUBSETS} subsets a share, {SETTINGS['n_query']} queries; means over queries. "
        f"{published} (TRAK-50, bar charts of dattri's README, ± 0.005; its leave-one-out drops an index, which shifts "
        "every later batch, ours keeps the batches)."
    )


def answer(frame: pd.DataFrame) -> str:
    """The number that is at issue."""
    ours = frame[frame["method"] == "sam-unrolled"]
    return (
        f"The exact derivative reaches Pearson {ours['pearson'].mean():.3f} with leave-one-out where the best "
        f"published figure is {PUBLISHED['pearson']}."
    )


EXPERIMENT = Experiment(
    name="open-benchmark",
    title="MNIST, 5,000 points",
    measure=measure,
    cases={
        "beyond": [
            Case("mnist-mlp", SETTINGS, {"methods": METHODS, "fractions": FRACTIONS, "subsets": SUBSETS}),
        ]
    },
    draw=draw,
    caption=caption,
    tabulate=page.tabulate,
    answer=answer,
)
