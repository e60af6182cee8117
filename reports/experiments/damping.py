"""Agreement over the damping δ of the implicit methods."""

import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.over_damping import CASES, measure
from reports.curves import BARS, describe, draw_curves, tabulate_curves
from reports.experiment import Experiment


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman and noise AUC over δ."""
    return draw_curves(frame, "damping", "damping δ", scale="symlog")


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Spearman at each damping; a dash where no seed gave scores."""
    return tabulate_curves(frame, "damping", "δ =")


def caption(frame: pd.DataFrame) -> str:
    """What is damped, with which curvature, and how many solves failed."""
    failed = int((frame["status"] != "ok").sum())
    return (
        f"The implicit methods over the damping added to their matrix ({describe(frame)}); {BARS}; curvature as "
        f"chosen on held-out queries. TracIn has no damping and stands for comparison. {failed} solves failed and "
        "give no scores. Black: exact LOO."
    )


EXPERIMENT = Experiment(
    name="damping",
    title="Damping",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
)
