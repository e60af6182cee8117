"""The noise floor: what the effect of a point in one run says about its effect in another run of the same training."""

import pandas as pd
from matplotlib.figure import Figure

from baselines.comparison import CORRELATION
from baselines.studies.across_runs import CASES, RUNS, measure
from reports.curves import describe
from reports.dots import Mark, draw_dots
from reports.experiment import Experiment
from reports.intervals import brackets, summarise
from reports.labels import label_of, labels
from reports.style import styles

KINDS = {"same run": "the same run", "other run": "another run", "other runs": "the mean of the other runs"}
MARKERS = {"same run": "o", "other run": "s", "other runs": "D"}


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman of each method's effects, a mark a kind, a panel a workload."""
    rows = [shown for shown, _ in styles(frame)]
    dots = frame.assign(row=labels(frame), series=frame["kind"], value=frame["spearman"])
    marks = {kind: Mark(f"held against {label}", MARKERS[kind]) for kind, label in KINDS.items()}
    return draw_dots(dots, rows, marks, "per-query Spearman", 1, CORRELATION)


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Spearman of each kind."""
    means = summarise(frame, ["workload", "method", "kind"], ["spearman"])
    cells = means.assign(**brackets(means, {"spearman": "cell"}))
    shown = cells.pivot(index=["workload", "method"], columns="kind", values="cell").reset_index()
    shown["method"] = [label_of(name) for name in shown["method"]]
    headings = {"workload": "Workload", "method": "Effects of"}
    return shown.rename(columns=headings | {kind: f"against {label}" for kind, label in KINDS.items()})


def caption(frame: pd.DataFrame) -> str:
    """Which runs are held against which truth."""
    return (
        f"The same points trained {RUNS} times with other initial parameters and batches ({describe(frame)}): exact "
        "leave-one-out effects, and the exact derivative's, of each run held against the truth of the same run, of "
        "another, and of the mean of the others. 95 % t-intervals over seeds of the data. A claim about the effect of "
        "a point beyond one run is worth no more than the lower marks."
    )


def answer(frame: pd.DataFrame) -> str:
    """What one run's truth says about another's."""
    means = frame[frame["method"] == "loo"].groupby(["workload", "kind"], sort=False)["spearman"].mean()
    parts = [
        f"{means[workload, 'other run']:.2f} on {workload} ({means[workload, 'other runs']:.2f} with the others' mean)"
        for workload in dict.fromkeys(frame["workload"])
    ]
    return f"Exact effects of one run agree with those of another by a per-query Spearman of {', '.join(parts)}."


EXPERIMENT = Experiment(
    name="noise-floor",
    title="The noise floor of leave-one-out",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
    answer=answer,
)
