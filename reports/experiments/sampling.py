"""Agreement against how often a point was sampled: is SAM-GIF noisy for points that were rarely in a batch?"""

import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.by_sampling_count import BINS, CASES, measure
from reports.curves import BARS, axis_labels, describe, draw_curves, tabulate_curves
from reports.experiment import Experiment

METRICS = {
    **axis_labels("spearman"),
    "error": "error of the effect,\nat the best scale",
}


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman and error over the number of times that points were sampled."""
    means = frame.groupby(["workload", "bin"])["count"].transform("mean").round(2)
    return draw_curves(frame.assign(count=means), "count", "times that a point was in a batch", METRICS)


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Error in each fifth of the points, the rarest first."""
    return tabulate_curves(frame, "bin", "fifth", "error")


def caption(frame: pd.DataFrame) -> str:
    """How points are grouped, and at which scale errors are taken."""
    return (
        f"Batches drawn with replacement; points in {BINS} groups by how often they were in one ({describe(frame)}; "
        f"{BARS}). Upper: rank agreement within the group. Lower and table: ‖predicted − true‖/‖true‖ of the effects "
        "of the group, each method at the one scale that is best for all points, so that only the shape of its "
        "prediction counts. Black: exact LOO."
    )


EXPERIMENT = Experiment(
    name="sampling",
    title="How often a point was sampled",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
)
