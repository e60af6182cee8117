"""Real label noise: the human labels of CIFAR-10N, and how well each way finds the wrong ones."""

import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.human_labels import CASES, FOLDS, measure
from reports.curves import BARS, describe, draw_curves
from reports.experiment import Experiment
from reports.intervals import brackets, summarise
from reports.labels import labels


def draw(frame: pd.DataFrame) -> Figure:
    """Share found over share inspected, a panel a set of labels."""
    shares = frame.groupby("labels", sort=False)["wrong"].mean()
    panels = frame.assign(panel=[f"{name}, {shares[name]:.1%} wrong" for name in frame["labels"]])
    return draw_curves(
        panels, "inspected", "share inspected", {"found": "share of the\nwrong labels found"}, per="panel"
    )


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """AUC, share found among as many points as are wrong, precision and recall of what each way flags by itself."""
    columns = {"auc": "AUC", "at_count": "Found in as many", "precision": "Precision", "recall": "Recall"}
    means = summarise(frame, ["labels", "method", "how"], list(columns))
    shown = pd.DataFrame({"Labels": means["labels"], "Method": labels(means)})
    return shown.assign(**brackets(means, columns))


def caption(frame: pd.DataFrame) -> str:
    """Where the labels are from, and how each way ranks and flags points."""
    return (
        f"Human labels of CIFAR-10N (Wei et al. 2022) on {describe(frame)}, validation accuracy "
        f"{frame['accuracy'].mean():.2f} on average; inspected by lowest Influence Score on clean validation labels, "
        "by highest self-influence, or by lowest label quality of cleanlab (out-of-fold probabilities of the same "
        f"run, {FOLDS} folds). {BARS}. Precision and recall are of the points that a way flags by itself: negative "
        "scores, or what cleanlab rejects. Exact LOO of every point is out of reach here."
    )


EXPERIMENT = Experiment(
    name="real-noise",
    title="Real label noise",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
)
