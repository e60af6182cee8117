"""Agreement over the perturbation radius ρ: networks trained with each and attributed with the same."""

import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.over_rho import CASES, measure
from reports.curves import BARS, describe, draw_curves, tabulate_curves
from reports.experiment import Experiment


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman and noise AUC over ρ."""
    return draw_curves(frame, "rho", "perturbation radius ρ", scale="symlog")


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Spearman at each ρ."""
    return tabulate_curves(frame, "rho", "ρ =")


def caption(frame: pd.DataFrame) -> str:
    """Which ρ each network has, and where options were chosen."""
    return (
        f"Networks trained at each ρ and attributed at the same ρ ({describe(frame)}); lines are means, {BARS}. "
        "Damping and curvature as chosen at the workload's own ρ, seed by seed. Upper: rank agreement with exact "
        "leave-one-out (per-query Spearman, 1 is exact LOO itself); lower: wrong labels found by lowest Influence "
        "Score."
    )


EXPERIMENT = Experiment(
    name="rho",
    title="Perturbation radius",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
)
