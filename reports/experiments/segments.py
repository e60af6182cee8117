"""A run of which only C checkpoints are left: segments of constant curvature beside SAM-GIF and TracIn-CP."""

import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.few_checkpoints import CASES, measure
from reports.curves import BARS, ROWS, describe, draw_curves, tabulate_curves
from reports.experiment import Experiment
from reports.labels import label_of

USUAL = 10


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman and noise AUC over C."""
    return draw_curves(frame, "checkpoints", "checkpoints C", ROWS, "log")


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Spearman at each C."""
    return tabulate_curves(frame[frame["method"] != "loo"], "checkpoints", "C =")


def caption(frame: pd.DataFrame) -> str:
    """Where the checkpoints lie, and what each method takes from them."""
    return (
        "All methods from the same C checkpoints, each in the middle of its segment of the run; SAM unrolled takes the "
        f"segment's Gauss-Newton curvature for constant ({describe(frame)}); {BARS}. Black: exact LOO."
    )


def answer(frame: pd.DataFrame) -> str:
    """What the segment form gains at the usual number of checkpoints."""
    at = frame[frame["checkpoints"] == (USUAL if USUAL in set(frame["checkpoints"]) else frame["checkpoints"].max())]
    means = at.groupby(["workload", "method"], sort=False)["spearman"].mean()
    parts = [
        f"{means[workload, 'sam-unrolled']:.2f} against {means[workload, 'sam-gif']:.2f} on {workload}"
        for workload in dict.fromkeys(at["workload"])
    ]
    return (
        f"From {at['checkpoints'].iloc[0]} checkpoints, segments of constant curvature reach a per-query Spearman of "
        f"{', '.join(parts)} for {label_of('sam-gif')}."
    )


EXPERIMENT = Experiment(
    name="segments",
    title="Only checkpoints are left",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
    answer=answer,
)
