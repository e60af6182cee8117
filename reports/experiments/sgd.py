"""Networks trained with SAM and with plain SGD, attributed by the same methods: does it matter that SAM was used?"""

import pandas as pd
from matplotlib.figure import Figure

from baselines.comparison import CORRELATION
from baselines.studies.sam_and_sgd import CASES, OPTIMISERS, measure
from baselines.validation import GROUND_TRUTH
from reports.curves import describe, tabulate_curves
from reports.dots import Mark, draw_dots
from reports.experiment import Experiment
from reports.labels import labels
from reports.style import styles


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman a method, SAM beside SGD, a panel a workload."""
    frame = frame[frame["method"] != GROUND_TRUTH]
    rows = [shown for shown, _ in styles(frame)]
    dots = frame.assign(row=labels(frame), series=frame["optimiser"], value=frame["spearman"])
    marks = {name: Mark(f"trained with {name}", filled=name == "SAM") for name in OPTIMISERS}
    return draw_dots(dots, rows, marks, "per-query Spearman with exact LOO", 1, CORRELATION)


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Spearman of each method on both networks."""
    return tabulate_curves(frame, "optimiser", "")


def caption(frame: pd.DataFrame) -> str:
    """What the methods are told of each network."""
    return (
        "The same methods, told the workload's ρ, on networks trained with that ρ (SAM) and with ρ = 0 (SGD), each "
        f"against its own exact leave-one-out ({describe(frame)}); 95 % t-intervals over seeds. The line at 1 is "
        "exact LOO."
    )


EXPERIMENT = Experiment(
    name="sam-against-sgd",
    title="SAM against SGD",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
)
