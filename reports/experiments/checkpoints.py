"""SAM-GIF over the number C of checkpoints: ranks, wrong labels found, and accuracy of the edited network."""

import pandas as pd
from matplotlib.figure import Figure

from baselines.agreement import sweep
from baselines.editing import edit, group_of
from baselines.edits import NO_EDIT
from baselines.truth import retraining_truth
from baselines.validation import GROUND_TRUTH
from reports.curves import BAND, METRICS, describe, draw_curves, tabulate_curves
from reports.experiment import DESK, PAPER, Experiment, over
from samattr_ref.training import train
from samattr_ref.workload import Workload

COUNTS = (1, 2, 3, 5, 10, 30, 100, None)
COMPARED = ("loo", "sam-gif", "tracin-cp", "sam-if", "if")
ACCURACY = {"accuracy": "validation accuracy,\n10 % removed"}


def measure(workload: Workload, checkpoints: int | None) -> pd.DataFrame:
    """The trajectory methods from C checkpoints (None: every step), and the accuracy after removing a random 10 %."""
    count = checkpoints or workload.recipe.steps
    frame = pd.DataFrame(sweep(workload, COMPARED, extra={"checkpoints": count}))
    run = train(workload)
    group = group_of(run, "random", 0.1)
    validation = run.splits.validation
    accuracy = {"loo": run.accuracy(validation, retraining_truth(run, [group]).parameters[0])}
    accuracy["sam-gif"] = run.accuracy(validation, edit(run, "sam-gif", [group], {"checkpoints": count})[0])
    unedited = run.accuracy(validation)
    return frame.assign(checkpoints=count, accuracy=frame["method"].map(accuracy), unedited=unedited)


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman, noise AUC and edited accuracy over C, beside no edit."""
    loo = frame[frame["method"] == GROUND_TRUTH]
    unedited = loo.assign(method=NO_EDIT, accuracy=loo["unedited"], **dict.fromkeys(METRICS, float("nan")))
    shown = pd.concat([frame, unedited])
    return draw_curves(shown, "checkpoints", "checkpoints C", {**METRICS, **ACCURACY}, "log")


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of the edited (SAM-GIF) and the retrained network (exact LOO) at each C."""
    shown = frame[frame["method"].isin(["loo", "sam-gif"])]
    return tabulate_curves(shown, "checkpoints", "C =", "accuracy")


def caption(frame: pd.DataFrame) -> str:
    """What is shown."""
    unedited = frame.groupby("workload", sort=False)["unedited"].mean()
    plain = ", ".join(f"{name} {value:.3f}" for name, value in unedited.items())
    return (
        "SAM-GIF and TracIn-CP from C checkpoints, the largest C being every step; IF and SAM-IF have none "
        f"({describe(frame)}); {BAND}. Lowest row: the network edited by SAM-GIF for a random 10 % of the points, "
        f"beside retraining (black); without any edit the accuracy is {plain}."
    )


EXPERIMENT = Experiment(
    name="checkpoints",
    title="Number of checkpoints",
    measure=measure,
    cases={"desk": over(DESK, "checkpoints", COUNTS), "paper": over(PAPER, "checkpoints", COUNTS)},
    draw=draw,
    caption=caption,
    tabulate=tabulate,
)
