"""Agreement over the damping δ of the implicit methods."""

import pandas as pd
from matplotlib.figure import Figure

from baselines.agreement import sweep
from reports.curves import BAND, describe, draw_curves, tabulate_curves
from reports.experiment import DESK, PAPER, Experiment, over
from samattr_ref.workload import Workload

DAMPINGS = (0.0, 1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
COMPARED = ("loo", "sam-hif-implicit", "sam-if", "sam-hif", "sam-hif-fast", "if", "tracin")


def measure(workload: Workload, damping: float) -> pd.DataFrame:
    """The implicit methods at one damping, the curvature as chosen on held-out queries."""
    return pd.DataFrame(sweep(workload, COMPARED, extra={"damping": damping})).assign(damping=damping)


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman and noise AUC over δ."""
    return draw_curves(frame, "damping", "damping δ", scale="symlog")


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Spearman at each damping; a dash where no seed gave scores."""
    return tabulate_curves(frame, "damping", "δ =")


def caption(frame: pd.DataFrame) -> str:
    """What is shown."""
    failed = int((frame["status"] != "ok").sum())
    return (
        f"The implicit methods over the damping added to their matrix ({describe(frame)}); {BAND}; curvature as "
        f"chosen on held-out queries. TracIn has no damping and stands for comparison. {failed} solves failed and "
        "give no scores. Black: exact LOO."
    )


EXPERIMENT = Experiment(
    name="damping",
    title="Damping",
    measure=measure,
    cases={"desk": over(DESK, "damping", DAMPINGS), "paper": over(PAPER, "damping", DAMPINGS)},
    draw=draw,
    caption=caption,
    tabulate=tabulate,
)
