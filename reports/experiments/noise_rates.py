"""Finding wrong labels at noise rates from 5 to 40 %: the curve, its area, and the rivals."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.over_noise_rate import CASES, measure
from reports.curves import BAND, describe, draw_curves, summarise, tabulate_curves
from reports.experiment import Experiment


def draw(frame: pd.DataFrame) -> Figure:
    """Share found over share inspected, a panel a rate, on the last workload."""
    last = frame[frame["workload"] == frame["workload"].iloc[-1]]
    panels = last.assign(panel=[f"{rate:.0%} wrong" for rate in last["rate"]])
    return draw_curves(
        panels, "inspected", "share inspected", {"found": "share of the\nwrong labels found"}, per="panel"
    )


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """AUC at each rate."""
    return tabulate_curves(frame, "rate", "rate", "auc")


def found_at(frame: pd.DataFrame, rate: float, inspected: float) -> pd.DataFrame:
    """Share of the wrong labels found at one rate and share inspected, a row a workload and method."""
    part = frame[np.isclose(frame["rate"], rate) & np.isclose(frame["inspected"], inspected)]
    return summarise(part, ["workload", "method"], ["found"])


def caption(frame: pd.DataFrame) -> str:
    """What is shown."""
    return (
        "Wrong labels found by inspecting the lowest Influence Scores first; self-influence: the highest first. The "
        f"figure is {frame['workload'].iloc[-1]}, the table gives the area under the ROC curve on all "
        f"({describe(frame)}); {BAND}."
    )


EXPERIMENT = Experiment(
    name="noise-rates",
    title="Noise detection",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
)
