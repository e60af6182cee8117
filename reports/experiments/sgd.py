"""Networks trained with SAM and with plain SGD, attributed by the same methods: does it matter that SAM was used?"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.sam_and_sgd import CASES, measure
from baselines.validation import GROUND_TRUTH
from reports.curves import describe, legend, summarise, tabulate_curves
from reports.experiment import Experiment
from reports.style import PAGE_INCHES, figure_style, look


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman a method, SAM beside SGD, a panel a workload."""
    panels = list(dict.fromkeys(frame["workload"]))
    with figure_style():
        figure, axes = plt.subplots(
            1, len(panels), figsize=(PAGE_INCHES, 2.6), sharey=True, squeeze=False, layout="constrained"
        )
        for axis, panel in zip(axes[0], panels, strict=True):
            part = frame[(frame["workload"] == panel) & (frame["method"] != GROUND_TRUTH)]
            names = list(dict.fromkeys(part["method"]))
            for optimiser, shift, fill in (("SAM", 0.15, "full"), ("SGD", -0.15, "none")):
                means = summarise(part[part["optimiser"] == optimiser], ["method"], ["spearman"]).set_index("method")
                for row, name in enumerate(reversed(names)):
                    colour, y = look(name).colour, row + shift
                    low, high = means.loc[name, ["spearman_low", "spearman_high"]]
                    axis.plot([low, high], [y, y], color=colour, linewidth=0.9)
                    axis.plot(means.loc[name, "spearman"], y, "o", color=colour, markersize=4, fillstyle=fill)
                axis.plot([], [], "o", color="0.3", markersize=4, fillstyle=fill, label=f"trained with {optimiser}")
            axis.set_yticks(np.arange(len(names)), [look(name).label for name in reversed(names)])
            axis.axvline(1, color="black", linewidth=0.8)
            axis.set(title=panel, xlabel="per-query Spearman with exact LOO")
        legend(figure, axes[0, :1], "outside lower center", 2)
    return figure


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Spearman of each method on both networks."""
    return tabulate_curves(frame, "optimiser", "")


def caption(frame: pd.DataFrame) -> str:
    """What is shown."""
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
