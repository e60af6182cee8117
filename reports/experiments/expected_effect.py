"""One run or the expected effect? What averaging scores over runs of the same training gains, and for what."""

import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.averaged_runs import CASES, measure
from reports.curves import BARS, describe, draw_curves
from reports.experiment import Experiment
from reports.intervals import brackets, summarise
from reports.labels import labels

METRICS = {
    "auc": "wrong labels,\nROC AUC",
    "spearman": "Spearman with the\nmean exact effect",
    "own": "accuracy gained,\nscored run",
    "other": "accuracy gained,\nanother run",
}
HEADINGS = {
    "auc": "AUC, wrong labels",
    "spearman": "Spearman, mean effect of other runs",
    "own": "Accuracy gained, scored run",
    "other": "Accuracy gained, another run",
}


def draw(frame: pd.DataFrame) -> Figure:
    """Each metric over the number of runs."""
    shown = {name: label for name, label in METRICS.items() if name in frame and frame[name].notna().any()}
    return draw_curves(frame, "k", "runs averaged, k", shown, "log")


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Each metric with one run and with all."""
    shown = {name: label for name, label in HEADINGS.items() if name in frame}
    ends = frame[frame["k"].isin([frame["k"].min(), frame["k"].max()])]
    means = summarise(ends, ["workload", "method", "k"], list(shown))
    table = pd.DataFrame({"Workload": means["workload"], "Method": labels(means), "k": means["k"]})
    return table.assign(**brackets(means, shown)).reset_index(drop=True)


def caption(frame: pd.DataFrame) -> str:
    """What is averaged, and what it is held against."""
    return (
        "Influence Scores averaged over k runs that differ in initial parameters and batches "
        f"({describe(frame)}); {BARS}. Wrong labels found, and, where exact effects of every point are to be had, "
        f"Spearman with their mean over {frame['k'].max()} other runs: means over all windows of k runs. Scores are "
        "of the mean of one half of the validation set. Accuracy gained, on the other half: of a scored run and of a "
        "run that was not scored, retrained without the lowest-scored points, as many as labels are wrong. k runs cost "
        "k times one."
    )


def answer(frame: pd.DataFrame) -> str:
    """Which of the two a user wants, for what."""
    parts = []
    for workload, part in frame[frame["method"] == "sam-unrolled"].groupby("workload", sort=False):
        means = part.groupby("k")[["auc", "own", "other"]].mean()
        one, most = means.loc[means.index.min()], means.loc[means.index.max()]
        parts.append(
            f"on {workload} AUC {one['auc']:.3f} to {most['auc']:.3f}, accuracy gained in the scored run "
            f"{one['own']:+.3f} to {most['own']:+.3f}, in another {one['other']:+.3f} to {most['other']:+.3f}"
        )
    return f"The exact derivative of one run against its mean over {frame['k'].max()}: {'; '.join(parts)}."


EXPERIMENT = Experiment(
    name="expected-effect",
    title="One run or the expected effect",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
    answer=answer,
)
