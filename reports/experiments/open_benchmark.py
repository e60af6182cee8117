"""The setting on which no published method correlates with leave-one-out: MNIST, 5,000 points, a three-layer MLP."""

import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.published_setting import CASES, SETTINGS, SUBSETS, measure
from reports.curves import describe
from reports.experiment import Experiment
from reports.experiments import fidelity as page

PUBLISHED = {"pearson": 0.023, "lds_0.5": 0.448}
"""The best published figures of any method, TRAK-50 in the README of dattri (Deng et al. 2024; bar charts, ± 0.005):
Pearson with LOO and LDS at half removed. Its leave-one-out drops an index, which shifts every later batch."""


def draw(frame: pd.DataFrame) -> Figure:
    """LDS over the share of the points removed."""
    return page.draw(frame)


def caption(frame: pd.DataFrame) -> str:
    """The setting, and the best published numbers."""
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
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=page.tabulate,
    answer=answer,
)
