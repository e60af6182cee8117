"""At a fixed point of full-batch SAM, and away from one: the infinitesimal implicit form and its Newton step.

The step is taken where it is refused too: what it would have lost there is why.
"""

import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.implicit_errors import CASES, NEWTON_STEP, measure
from reports.curves import BARS, describe, draw_curves
from reports.experiment import Experiment
from reports.intervals import brackets, summarise
from reports.labels import labels
from reports.scales import plain_ticks
from samattr_ref.implicit.newton import MOST_LEFT

METRICS = {
    "slope": "slope of truth\non score",
    "error": "relative error of Δ",
    "reach": "Newton step, not\nfollowed / added",
}
HEADINGS = {"slope": "Slope", "error": "Rel. error of Δ", "spearman": "Spearman", "grad_norm": "‖g‖"}

LEAST_LEFT = 1e-3
"""Less than this share of a step says no more than none."""


def draw(frame: pd.DataFrame) -> Figure:
    """Slope, error and whether the step is offered over the length of training, a column a kind of batch."""
    shown = frame.assign(reach=(frame["newton_left"] / frame["newton_adds"]).clip(lower=LEAST_LEFT / 10))
    figure = draw_curves(shown, "steps", "steps T", METRICS, "log", "kind", dict.fromkeys(METRICS, "log"))
    for axis in figure.axes[-frame["kind"].nunique() :]:
        axis.axhline(MOST_LEFT, color="0.4", linewidth=0.8, linestyle="--")
        axis.set_ylim(bottom=LEAST_LEFT)
        plain_ticks(axis.yaxis)
    return figure


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """The longest run of each kind."""
    longest = frame[frame["steps"] == frame.groupby("kind")["steps"].transform("max")]
    means = summarise(longest, ["kind", "method", "how"], list(HEADINGS))
    shown = pd.DataFrame({"Training": means["kind"], "Method": labels(means)})
    return shown.assign(**brackets(means, HEADINGS, digits=4))


def caption(frame: pd.DataFrame) -> str:
    """What is cut, when the Newton step is offered, and how near the runs end to a fixed point."""
    longest = frame[frame["steps"] == frame.groupby("kind")["steps"].transform("max")]
    ends = longest.groupby("kind")["grad_norm"].mean()
    norms = ", ".join(f"{norm:.1e} in {kind}" for kind, norm in ends.items())
    return (
        f"Softmax regression ({describe(frame)}), no damping; {BARS}. Lowest row: what of the Newton step the run was "
        f"too short to follow, over what the step adds to the infinitesimal Δ, down to {LEAST_LEFT:g}; below "
        f"{MOST_LEFT:g} (dashed) it is offered, above it refused, and drawn all the same. "
        "On a convex problem full-batch SAM with a step size that goes to zero ends where g is zero: at any other "
        "point ⟨∇L(ω + ê), ê⟩ ≥ ρ‖g‖ > 0, so there is no other fixed point, and the implicit form tends to IF. ‖g‖ at "
        f"the end of the longest run: {norms}. Table: the longest runs."
    )


def answer(frame: pd.DataFrame) -> str:
    """What the Newton step gains where it is offered, and what it would lose where it is not."""
    own = frame[frame["method"] == "sam-hif-implicit"]
    means = own.groupby(["kind", "steps", "how"])[["slope", "error"]].mean()
    parts = []
    for kind, part in own.groupby("kind", sort=False):
        plain, newton = (means.loc[(kind, part["steps"].max(), how)] for how in ("", NEWTON_STEP))
        parts.append(
            f"in {kind} from {plain['slope']:.3f} to {newton['slope']:.3f}, the error of Δ from "
            f"{plain['error']:.3f} to {newton['error']:.3f}"
        )
    wide = own.pivot(index=["kind", "steps", "seed"], columns="how", values="error")
    gains = (wide[NEWTON_STEP] < wide[""]).to_numpy()
    step = own[own["how"] == NEWTON_STEP].set_index(["kind", "steps", "seed"]).loc[wide.index]
    offered = (step["newton_left"] < MOST_LEFT * step["newton_adds"]).to_numpy()
    return (
        f"A Newton step moves the slope of the longest runs, {'; '.join(parts)}; over all lengths it is offered in "
        f"{offered.sum()} of {len(offered)} runs, of which it gains in {(gains & offered).sum()}, and refused in "
        f"{(~offered).sum()}, of which it would have gained in {(gains & ~offered).sum()}."
    )


EXPERIMENT = Experiment(
    name="fixed-point",
    title="Fixed points and the Newton step",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
    answer=answer,
)
