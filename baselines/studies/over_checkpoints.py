"""SAM-GIF over the number C of checkpoints: ranks, wrong labels found, and accuracy of the edited network."""

import pandas as pd

from baselines.diverged import whole
from baselines.studies.agreement import sweep
from baselines.studies.cases import DESK, PAPER, Case, over
from baselines.studies.edit import edit, group_of
from baselines.truth import retraining_truth
from samattr_ref.training import train
from samattr_ref.workload import Workload

COUNTS = (1, 2, 3, 5, 10, 30, 100, None)
COMPARED = ("loo", "sam-gif", "tracin-cp", "sam-if", "if")


def measure(workload: Workload, checkpoints: int | None) -> pd.DataFrame:
    """The trajectory methods from C checkpoints (None: every step), and the accuracy after removing a random 10 %."""
    count = checkpoints or workload.recipe.steps
    frame = pd.DataFrame(sweep(workload, COMPARED, extra={"checkpoints": count}))
    run = train(workload)
    group = group_of(run, "random", 0.1)
    validation = run.splits.validation
    accuracy = {"loo": run.accuracy(validation, whole(retraining_truth(run, [group])).parameters[0])}
    accuracy["sam-gif"] = run.accuracy(validation, edit(run, "sam-gif", [group], {"checkpoints": count})[0])
    unedited = run.accuracy(validation)
    return frame.assign(checkpoints=count, accuracy=frame["method"].map(accuracy), unedited=unedited)


CASES = {
    "desk": over(DESK, "checkpoints", COUNTS),
    "real": over([Case("mnist-mlp-full")], "checkpoints", COUNTS[:-1]),
    "paper": over(PAPER, "checkpoints", COUNTS),
}
