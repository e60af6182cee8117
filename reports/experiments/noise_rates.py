"""Finding wrong labels at noise rates from 5 to 40 %: the curve, its area, and the rivals."""

import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.over_noise_rate import CASES, measure
from reports.curves import BARS, describe, draw_curves, tabulate_curves
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


def caption(frame: pd.DataFrame) -> str:
    """In which order points are inspected, and which workload is drawn."""
    return (
        "Wrong labels found by inspecting the lowest Influence Scores first; self-influence: the highest first. The "
        f"figure is {frame['workload'].iloc[-1]}, the table gives the area under the ROC curve on all "
        f"({describe(frame)}); {BARS}."
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
