"""The implicit forms with one full-batch perturbation, and as a mean over the run's last batches, each with its own."""

import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.by_batch import BY_BATCH, CASES, FORMS, measure
from reports.curves import BARS, ROWS, describe, draw_curves, tabulate_curves
from reports.experiment import Experiment
from reports.labels import label_of


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman and noise AUC over ρ; dotted, by batch."""
    return draw_curves(frame, "rho", "perturbation radius ρ", ROWS, "log")


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Spearman at each ρ."""
    return tabulate_curves(frame[frame["method"] != "loo"], "rho", "ρ =")


def caption(frame: pd.DataFrame) -> str:
    """What the solid and the dotted lines take ê from."""
    return (
        f"Networks trained with minibatch SAM at each ρ ({describe(frame)}); {BARS}. Solid: one ê of the full training "
        "loss, as the paper has it. Dotted, by batch: the implicit derivative of the mean over the batches of the last "
        "epoch, each with its own ê, H and ∂ê/∂g. Damping and curvature as chosen for the full-batch form."
    )


def answer(frame: pd.DataFrame) -> str:
    """What the batches' own perturbations change."""
    means = frame.groupby(["workload", "method", "how"], sort=False)["spearman"].mean()
    parts = []
    for workload in dict.fromkeys(frame["workload"]):
        changes = [
            f"{label_of(form)} {means[workload, form, '']:.2f} to {means[workload, form, BY_BATCH]:.2f}"
            for form in FORMS
        ]
        parts.append(f"{', '.join(changes)} on {workload}")
    return f"Taking each batch's own ê moves the per-query Spearman, on average over ρ, from {'; '.join(parts)}."


EXPERIMENT = Experiment(
    name="batch-perturbation",
    title="One perturbation or one a batch",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
    answer=answer,
)
