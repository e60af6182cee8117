"""Question 1: how often does removing a point flip signs of the gradient, and what do flips cost the HIF forms?"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scipy.stats
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from baselines.comparison import CORRELATION
from baselines.metrics import mean_interval
from baselines.studies.sign_flips import CASES, DAMPED, METHODS, POINTS, RADII, measure
from reports.curves import describe, legend
from reports.experiment import Experiment
from reports.intervals import bracket, brackets, summarise
from reports.labels import label_of
from reports.style import PAGE_INCHES, figure_style, style_of


def draw(frame: pd.DataFrame) -> Figure:
    """Error of the predicted change over the share of flipped coordinates; for p = ∞ beside the bound."""
    panels = list(dict.fromkeys(frame["workload"]))
    norms = sorted(frame["p"].unique())
    markers = dict(zip(METHODS, "o^", strict=True))
    with figure_style():
        figure, axes = plt.subplots(
            len(panels), len(norms), figsize=(PAGE_INCHES, 0.6 + 1.9 * len(panels)), squeeze=False, layout="constrained"
        )
        for line, panel in zip(axes, panels, strict=True):
            for axis, p in zip(line, norms, strict=True):
                part = frame[(frame["workload"] == panel) & (frame["p"] == p)]
                for name in METHODS:
                    one = part[part["method"] == name]
                    colour = style_of(name).colour
                    style = {"s": 5, "alpha": 0.35, "linewidths": 0, "marker": markers[name]}
                    axis.scatter(100 * one["flips"], one["error"], color=colour, label=label_of(name), **style)
                if np.isinf(p):
                    first = part[part["method"] == METHODS[0]]
                    style = {"s": 6, "marker": "_", "color": "black", "label": "2ρ√m / ‖Δ‖, from flips"}
                    axis.scatter(100 * first["flips"], first["shift"], **style)
                axis.set(yscale="log", title=f"{panel}, p = {p:g}".replace("inf", "∞"))
        for axis in axes[-1]:
            axis.set_xlabel("coordinates flipped (%)")
        for line in axes:
            line[0].set_ylabel("‖predicted − true‖ / ‖Δ‖")
        legend(figure, axes[0, -1:], "outside lower center", 3)
        for handle in figure.legends[0].legend_handles:
            if isinstance(handle, PathCollection):
                handle.set(alpha=1, sizes=[20])
    return figure


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Share of flips, and error, by p, ρ and length of training."""
    frame = frame.assign(percent=100 * frame["flips"])
    own = frame[frame["method"] == METHODS[0]]
    keys = ["workload", "p", "rho", "steps"]
    means = summarise(own, keys, ["percent", "error", "shift"])
    shown = pd.DataFrame(
        {
            "Workload": means["workload"],
            "p": [f"{p:g}".replace("inf", "∞") for p in means["p"]],
            "ρ": [f"{rho:g}" for rho in means["rho"]],
            "Steps": [str(steps) for steps in means["steps"]],
        }
    )
    headings = {"percent": "Flipped (%)", "error": "Rel. error", "shift": "‖ê change‖ / ‖Δ‖"}
    return shown.assign(**brackets(means, headings))


def caption(frame: pd.DataFrame) -> str:
    """What a flip is and what it costs, and the settings of the runs."""
    return (
        "Share of the coordinates of the full training gradient whose sign differs between the network and the one "
        "retrained without a point, and the relative error of the predicted change, removal by removal "
        f"({describe(frame)}; {POINTS} removals a run). ρ as the workload's own times "
        f"{', '.join(f'{r:g}' for r in RADII)} (a tenth of that for p = ∞), training of a quarter to twice the usual "
        "length. For p = ∞ a flip moves ê by 2ρ in its coordinate and ω by as much the other way at a fixed point, "
        "which no derivative sees: black, that shift. For p = 2 no sign is held. On digits-mlp, which has not "
        f"converged, the methods take the Gauss-Newton matrix and damping {DAMPED['damping']}. Table: SAM-HIF "
        "implicit; 95 % t-intervals over seeds; a dash where training diverges."
    )


def answer(frame: pd.DataFrame) -> str:
    """How flips and errors go together, norm by norm."""
    own = frame[frame["method"] == METHODS[0]]
    parts = []
    for p, part in own.groupby("p"):
        ranks = []
        for _, seed in part.groupby("seed"):
            usable = seed[np.isfinite(seed["error"])]
            if usable["flips"].nunique() > 1 and usable["error"].nunique() > 1:
                ranks.append(float(scipy.stats.spearmanr(usable["flips"], usable["error"])[0]))
        together = bracket(mean_interval(np.array(ranks), CORRELATION), 2)
        norm = f"{p:g}".replace("inf", "∞")
        parts.append(f"p = {norm}: {100 * part['flips'].mean():.1f} % flip, rank correlation with the error {together}")
    return f"Coordinates of the gradient that change sign when a point is removed: {'; '.join(parts)}."


EXPERIMENT = Experiment(
    name="signs",
    title="Question 1: gradient signs",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
    answer=answer,
)
