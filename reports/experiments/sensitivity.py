"""Where each method stops being reliable: the cells of `rho`, over the ρ/‖g‖ that the network ended with."""

import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.over_rho import CASES, measure
from reports.curves import BARS, axis_labels, describe, draw_curves, tabulate_curves
from reports.experiment import Experiment
from reports.intervals import summarise

METRICS = axis_labels("spearman", "slope")


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman and slope over the mean ρ/‖g‖ of each ρ."""
    shown = with_ratio(frame)
    return draw_curves(shown, "ratio", "ρ/‖g‖ at the end of training", METRICS, "log", scales={"slope": "symlog"})


def with_ratio(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with ρ > 0, and `ratio`: ρ/‖g‖ of their cell, its mean over seeds."""
    found = frame[frame["rho_over_grad_norm"] > 0]
    means = summarise(found, ["workload", "rho"], ["rho_over_grad_norm"])
    ratio = {(row.workload, row.rho): row.rho_over_grad_norm for row in means.itertuples()}
    part = frame[frame["rho"] > 0]
    pairs = zip(part["workload"], part["rho"], strict=True)
    return part.assign(ratio=[float(f"{ratio.get(pair, float('nan')):.3g}") for pair in pairs])


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Slope at each ρ/‖g‖, workload by workload."""
    parts = [
        tabulate_curves(part.assign(step=part["ratio"].rank(method="dense").astype(int)), "step", "radius", "slope")
        for _, part in with_ratio(frame).groupby("workload", sort=False)
    ]
    return pd.concat(parts, ignore_index=True).fillna("–")


def caption(frame: pd.DataFrame) -> str:
    """What ρ/‖g‖ is, and what the rows and the table say."""
    return (
        "The networks of the figure before, over ρ/‖g‖ with g the full training gradient at the end (mean over "
        "seeds): near a minimum ‖g‖ is small and the perturbation turns with every change of the parameters. Upper: "
        f"rank agreement; lower: size of the prediction, 1 is right. {describe(frame)}; {BARS}. Table: slope at the "
        "1st, 2nd, … radius ρ > 0."
    )


EXPERIMENT = Experiment(
    name="sensitivity",
    title="Reliability over ρ/‖g‖",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
)
