"""Question 1: how often does removing a point flip signs of the gradient, and what do flips cost the HIF forms?"""

import numpy as np
import pandas as pd
import scipy.stats
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from baselines.comparison import CORRELATION
from baselines.metrics import mean_interval
from baselines.studies.sign_flips import CASES, DAMPED, METHODS, POINTS, RADII, measure
from reports.curves import describe
from reports.experiment import Experiment
from reports.intervals import bracket, brackets, summarise
from reports.labels import label_of
from reports.panels import grid, label_y, legend, name_row
from reports.scales import plain_ticks
from reports.style import Style, figure_style, style_of

SHIFT = Style("2ρ√m / ‖Δ‖, from flips", "black", "s", "--", filled=False)

GROUPS = 8
"""Removals are grouped by how much they flip, as many in each group as in the others."""


def draw(frame: pd.DataFrame) -> Figure:
    """Error of the predicted change over the share of flipped coordinates; for p = ∞ beside what flips make of it."""
    panels = list(dict.fromkeys(frame["workload"]))
    norms = sorted(frame["p"].unique())
    frame = frame.assign(percent=100 * frame["flips"])
    with figure_style():
        figure, axes = grid(len(panels), len(norms), 1.6, sharey="row")
        for row, panel in zip(axes, panels, strict=True):
            for axis, p in zip(row, norms, strict=True):
                part = frame[(frame["workload"] == panel) & (frame["p"] == p)]
                first = part[part["method"] == METHODS[0]]
                axis.scatter(first["percent"], first["error"], color="0.75", s=3, linewidths=0, rasterized=True)
                for name in METHODS:
                    _medians(axis, part[part["method"] == name], "error", style_of(name))
                if np.isinf(p):
                    _medians(axis, first, "shift", SHIFT)
                axis.set(yscale="log", xlim=(-0.1, None))
            plain_ticks(row[0].yaxis)
            name_row(row, panel)
        for top, bottom, p in zip(axes[0], axes[-1], norms, strict=True):
            top.set_title(f"p = {p:g}".replace("inf", "∞"))
            bottom.set_xlabel("coordinates flipped (%)")
        label_y(axes.flat, "‖predicted − true‖ / ‖Δ‖")
        legend(figure, axes[0])
    return figure


def _medians(axis: Axes, part: pd.DataFrame, value: str, shown: Style) -> None:
    """The median and the quartiles of a value in groups of as many removals each, the least flipped first."""
    groups = part.groupby(pd.qcut(part["percent"], GROUPS, duplicates="drop"), observed=True)
    at = groups["percent"].median()
    low, middle, high = (groups[value].quantile(share) for share in (0.25, 0.5, 0.75))
    axis.vlines(at, low, high, color=shown.colour, linewidth=0.8)
    axis.plot(at, middle, color=shown.colour, linestyle=shown.line, label=shown.label, linewidth=1.0, **shown.mark(3.5))


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
        f"({describe(frame)}; {POINTS} removals a run): in grey of {label_of(METHODS[0])}; marks and bars are "
        f"medians and quartiles of {GROUPS} groups by the share. ρ as the workload's own times "
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
