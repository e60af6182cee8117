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
SAID = {
    "auc": "AUC",
    "spearman": "Spearman with the mean exact effect of other runs",
    "own": "accuracy gained in the scored run",
    "other": "in another",
}
SIGNS = {"auc": ".3f", "spearman": ".3f", "own": "+.3f", "other": "+.3f"}


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
    """What the mean over runs gains the exact derivative, in each of the metrics that are known."""
    parts = []
    for workload, part in frame[frame["method"] == "sam-unrolled"].groupby("workload", sort=False):
        means = part.groupby("k")[[name for name in SAID if name in part]].mean().dropna(axis=1)
        one, most = means.loc[means.index.min()], means.loc[means.index.max()]
        gains = [f"{SAID[name]} {one[name]:{SIGNS[name]}} to {most[name]:{SIGNS[name]}}" for name in means]
        parts.append(f"on {workload} {', '.join(gains)}")
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
