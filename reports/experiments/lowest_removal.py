"""Training without the points of lowest Influence Score, against random removal and without the wrong labels."""

import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.least_valuable import CASES, SHARES, WRONG, measure
from reports.curves import BARS, describe, draw_curves
from reports.experiment import Experiment
from reports.intervals import brackets, summarise
from reports.labels import label_of, labels
from samattr_ref.registry import Family, methods

HEADINGS = {"accuracy": "Accuracy", "gain": "Gained", "wrong": "Wrong labels among the removed"}


def draw(frame: pd.DataFrame) -> Figure:
    """Accuracy over the share removed, a panel a workload."""
    shown = frame.assign(percent=100 * frame["share"])
    return draw_curves(shown, "percent", "training points removed (%)", {"accuracy": "accuracy, retrained"})


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """What is gained at each share, and how many of the removed points are wrong."""
    whole = frame[frame["share"] == 0].set_index(["workload", "seed", "method"])["accuracy"]
    keys = list(zip(frame["workload"], frame["seed"], frame["method"], strict=True))
    frame = frame.assign(gain=frame["accuracy"] - whole.reindex(keys).to_numpy())
    frame = frame[frame["share"] > 0]
    means = summarise(frame, ["workload", "method", "share"], list(HEADINGS))
    shown = pd.DataFrame(
        {
            "Workload": means["workload"],
            "Method": labels(means),
            "Removed": [f"{share:.0%}" for share in means["share"]],
        }
    )
    return shown.assign(**brackets(means, HEADINGS))


def caption(frame: pd.DataFrame) -> str:
    """Which points go, where they are scored and where accuracy is measured."""
    return (
        "Networks retrained without the points of lowest Influence Score, up to "
        f"{max(SHARES):.0%} of them ({describe(frame)}; {BARS}). Scores are of the mean of one half of the validation "
        f"set, accuracies of the other half. {label_of(WRONG).capitalize()}: the points whose labels are really wrong "
        "go first, then others at random; random scores remove points at random."
    )


def answer(frame: pd.DataFrame) -> str:
    """What the best method gains beside what the wrong labels cost."""
    by_chance = [name for name, method in methods().items() if method.family is Family.CHANCE]
    parts = []
    for workload, part in frame.groupby("workload", sort=False):
        means = part.groupby(["method", "share"])["accuracy"].mean().unstack()
        gains = means.sub(means[0.0], axis=0).max(axis=1)
        others = gains.drop([WRONG, *by_chance], errors="ignore")
        best = str(others.idxmax())
        parts.append(
            f"on {workload} {others.max():+.3f} by {label_of(best)}, {gains[WRONG]:+.3f} without the wrong labels, "
            f"{gains.reindex(by_chance).max():+.3f} at random"
        )
    return f"The most accuracy that removal gains: {'; '.join(parts)}."


EXPERIMENT = Experiment(
    name="lowest-removal",
    title="Removing the lowest-scored points",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
    answer=answer,
)
