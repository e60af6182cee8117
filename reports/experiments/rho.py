"""Agreement over the perturbation radius ρ: networks trained with each and attributed with the same."""

import pandas as pd
from matplotlib.figure import Figure

from baselines.agreement import sweep
from reports.curves import BAND, METRICS, describe, draw_curves, tabulate_curves
from reports.experiment import DESK, PAPER, Experiment, over
from reports.results import COMPARED
from samattr_ref.workload import Workload

RADII = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)


def measure(workload: Workload, rho: float) -> pd.DataFrame:
    """Every method on the workload trained with another ρ; options as chosen at the workload's own."""
    rows = sweep(workload, COMPARED, workload.override(rho=rho))
    return pd.DataFrame(rows).assign(rho=rho)


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman and noise AUC over ρ."""
    return draw_curves(frame, "rho", "perturbation radius ρ", scale="symlog")


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Spearman at each ρ."""
    return tabulate_curves(frame, "rho", "ρ =")


def caption(frame: pd.DataFrame) -> str:
    """What is shown."""
    return (
        f"Networks trained at each ρ and attributed at the same ρ ({describe(frame)}); lines are means, {BAND}. "
        "Damping and curvature as chosen at the workload's own ρ, seed by seed. Upper: rank agreement with exact "
        f"leave-one-out ({METRICS['spearman'].split(chr(10), maxsplit=1)[0]}, 1 is exact LOO itself); lower: wrong "
        "labels found by lowest Influence Score."
    )


EXPERIMENT = Experiment(
    name="rho",
    title="Perturbation radius",
    measure=measure,
    cases={"desk": over(DESK, "rho", RADII), "paper": over(PAPER, "rho", RADII)},
    draw=draw,
    caption=caption,
    tabulate=tabulate,
)
