"""Only the last τ steps of the run, with and without an implicit tail: fidelity and cost."""

from math import isnan, nan

import pandas as pd
from matplotlib.figure import Figure

from baselines.fidelity import fidelity
from reports.curves import BAND, describe, draw_curves, tabulate_curves
from reports.experiment import DESK, Experiment, over
from samattr_ref.workload import Workload

SHARES = (0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0)
TAIL = 0.01
METRICS = {
    "spearman": "per-query Spearman\nwith exact LOO",
    "mean_trainings": "cost of the mean query,\nplain trainings",
}


def measure(workload: Workload, share: float) -> pd.DataFrame:
    """`sam-unrolled` over the last share of the steps, alone and with a tail, beside the methods at the two ends."""
    last = max(1, round(share * workload.recipe.steps))
    frames = [
        fidelity(workload, ["sam-unrolled"], (), 0, {"sam-unrolled": {"last": last}}),
        fidelity(workload, ["sam-unrolled"], (), 0, {"sam-unrolled": {"last": last, "tail_damping": TAIL}}).assign(
            method="sam-unrolled tail"
        ),
        fidelity(workload, ["sam-hif-implicit", "sam-gif"], (), 0),
    ]
    return pd.concat(frames).assign(share=share)


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman and cost over the share of the steps."""
    return draw_curves(frame, "share", "share of the steps differentiated", METRICS, "log")


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Spearman at each share."""
    return tabulate_curves(frame, "share", "last")


def caption(frame: pd.DataFrame) -> str:
    """What is shown."""
    return (
        "SAM unrolled over the last share of the run's steps, alone and with the implicit form (Gauss-Newton, damping "
        f"{TAIL}) for the steps before; SAM-HIF implicit and SAM-GIF do not depend on it ({describe(frame)}); {BAND}. "
        "Cost in plain trainings of the same run in the same process."
    )


def answer(frame: pd.DataFrame) -> str:
    """What half of the fidelity costs."""
    parts = []
    for workload, part in frame.groupby("workload", sort=False):
        means = part.groupby(["method", "share"])["spearman"].mean()
        whole = means["sam-unrolled"].max()
        near = {}
        for name in ("sam-unrolled", "sam-unrolled tail"):
            near[name] = min((share for share, value in means[name].items() if value >= 0.95 * whole), default=nan)
        parts.append(f"the last {near['sam-unrolled']:.0%} of the steps on {workload} ({_tail(near)} with a tail)")
    return f"95 % of the rank agreement that the whole run gives takes {', '.join(parts)}."


def _tail(near: dict[str, float]) -> str:
    share = near["sam-unrolled tail"]
    return "no share" if isnan(share) else f"{share:.0%}"


EXPERIMENT = Experiment(
    name="truncation",
    title="The last steps of the run",
    measure=measure,
    cases={"beyond": over(DESK, "share", SHARES)},
    draw=draw,
    caption=caption,
    tabulate=tabulate,
    answer=answer,
    timed=True,
)
