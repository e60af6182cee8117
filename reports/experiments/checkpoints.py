"""SAM-GIF over the number C of checkpoints: ranks, wrong labels found, and accuracy of the edited network."""

import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.edit_accuracy import NO_EDIT
from baselines.studies.over_checkpoints import CASES, COUNTS, measure
from baselines.validation import GROUND_TRUTH
from reports.curves import BARS, ROWS, describe, draw_curves, tabulate_curves
from reports.experiment import Experiment

ACCURACY = {"accuracy": "validation accuracy,\n10 % removed"}


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman, noise AUC and edited accuracy over C, beside no edit."""
    loo = frame[frame["method"] == GROUND_TRUTH]
    unedited = loo.assign(method=NO_EDIT, accuracy=loo["unedited"], **dict.fromkeys(ROWS, float("nan")))
    shown = pd.concat([frame, unedited])
    return draw_curves(shown, "checkpoints", "checkpoints C", {**ROWS, **ACCURACY}, "log")


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of the edited (SAM-GIF) and the retrained network (exact LOO) at each C."""
    shown = frame[frame["method"].isin(["loo", "sam-gif"])]
    return tabulate_curves(shown, "checkpoints", "C =", "accuracy")


def caption(frame: pd.DataFrame) -> str:
    """Which methods have checkpoints, and what the lowest row compares."""
    unedited = frame.groupby("workload", sort=False)["unedited"].mean()
    plain = ", ".join(f"{name} {value:.3f}" for name, value in unedited.items())
    largest = "" if frame["checkpoints"].max() in COUNTS else ", the largest C being every step"
    return (
        f"SAM-GIF and TracIn-CP from C checkpoints{largest}; IF and SAM-IF have none "
        f"({describe(frame)}); {BARS}. Lowest row: the network edited by SAM-GIF for a random 10 % of the points, "
        f"beside retraining (black); without any edit the accuracy is {plain}."
    )


EXPERIMENT = Experiment(
    name="checkpoints",
    title="Number of checkpoints",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
)
