"""Only the last τ steps of the run, with and without an implicit tail: fidelity and cost."""

from math import isnan, nan

import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.last_steps import CASES, TAIL, WITH_TAIL, measure
from reports.curves import BARS, axis_labels, describe, draw_curves, tabulate_curves
from reports.experiment import Experiment

METRICS = {
    **axis_labels("spearman"),
    "mean_trainings": "cost, mean query\n(plain trainings)",
}


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman and cost over the share of the steps."""
    label, scales = "share of the steps differentiated", {"mean_trainings": "log"}
    return draw_curves(frame, "share", label, METRICS, "log", scales=scales)


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Spearman at each share."""
    return tabulate_curves(frame, "share", "last")


def caption(frame: pd.DataFrame) -> str:
    """What the tail is, and what the cost is in units of."""
    return (
        "SAM unrolled over the last share of the run's steps, alone and with the implicit form (Gauss-Newton, damping "
        f"{TAIL}) for the steps before; SAM-HIF implicit and SAM-GIF do not depend on it ({describe(frame)}); {BARS}. "
        "Cost in plain trainings of the same run in the same process."
    )


def answer(frame: pd.DataFrame) -> str:
    """What half of the fidelity costs."""
    parts = []
    for workload, part in frame.groupby("workload", sort=False):
        means = part[part["method"] == "sam-unrolled"].groupby(["how", "share"])["spearman"].mean()
        whole = means[""].max()
        alone, tailed = (
            min((share for share, value in means[how].items() if value >= 0.95 * whole), default=nan)
            for how in ("", WITH_TAIL)
        )
        with_tail = "no share" if isnan(tailed) else f"{tailed:.0%}"
        parts.append(f"the last {alone:.0%} of the steps on {workload} ({with_tail} with a tail)")
    return f"95 % of the rank agreement that the whole run gives takes {', '.join(parts)}."


EXPERIMENT = Experiment(
    name="truncation",
    title="The last steps of the run",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
    answer=answer,
    timed=True,
)
