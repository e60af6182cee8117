"""At a fixed point of full-batch SAM, and away from one: the infinitesimal implicit form and its Newton step."""

from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure

from baselines import metrics
from baselines.truth import leave_one_out
from reports.curves import BAND, bracket, describe, draw_curves, summarise
from reports.experiment import Case, Experiment, over
from reports.style import look
from samattr_ref.errors import SamattrError
from samattr_ref.registry import attribute, parameter_change
from samattr_ref.training import train
from samattr_ref.workload import Workload

STEPS = (30, 100, 300, 1000, 3000, 10000)
NEWTON = "sam-hif-implicit Newton"
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "if": ("if", {}),
    "sam-if": ("sam-if", {}),
    "sam-hif": ("sam-hif", {}),
    "sam-hif-implicit": ("sam-hif-implicit", {}),
    NEWTON: ("sam-hif-implicit", {"newton": True}),
}
METRICS = {"slope": "slope of truth\non score", "error": "relative error of Δ"}
HEADINGS = {"slope": "Slope", "error": "Rel. error of Δ", "spearman": "Spearman", "grad_norm": "‖g‖"}
FULL_BATCH = {"batch_size": None, "learning_rate": 1.0, "n_removed": 60}
SGD = {"n_removed": 100}


def measure(workload: Workload, steps: int) -> pd.DataFrame:
    """Every form without damping, on a run of so many steps."""
    run = train(workload.override(steps=steps))
    truth = leave_one_out(run)
    true, changes = truth.values.numpy(), truth.changes.numpy()
    norm = float(torch.linalg.vector_norm(run.gradient(run.parameters)))
    rows: list[dict[str, Any]] = []
    for label, (name, options) in FORMS.items():
        row: dict[str, Any] = {"method": label, "grad_norm": norm, "status": "ok"}
        try:
            change = parameter_change(run, name, truth.groups, **options)
        except SamattrError as error:
            rows.append(row | {"status": str(error)})
            continue
        scores = attribute(run, name, **options).values[truth.removed].numpy()
        row["slope"] = metrics.slope(scores, true)
        row["error"] = metrics.relative_error(change.numpy(), changes)
        row["spearman"] = float(metrics.spearman_per_query(scores, true).mean())
        rows.append(row)
    kind = "full batch" if workload.recipe.batch_size is None else "minibatches"
    return pd.DataFrame(rows).assign(steps=steps, kind=kind)


def draw(frame: pd.DataFrame) -> Figure:
    """Slope and error over the length of training, a column a kind of batch."""
    shown = frame.assign(error=frame["error"].clip(upper=1.5), slope=frame["slope"].clip(0, 3))
    return draw_curves(shown, "steps", "steps T", METRICS, "log", per="kind")


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """The longest run of each kind."""
    longest = frame[frame["steps"] == frame.groupby("kind")["steps"].transform("max")]
    means = summarise(longest, ["kind", "method"], list(HEADINGS))
    shown = pd.DataFrame({"Training": means["kind"], "Method": [look(name).label for name in means["method"]]})
    for name, heading in HEADINGS.items():
        rows = means[[name, f"{name}_low", f"{name}_high"]].to_numpy()
        shown[heading] = [bracket(value, low, high, 4) for value, low, high in rows]
    return shown


def caption(frame: pd.DataFrame) -> str:
    """What is shown."""
    longest = frame[frame["steps"] == frame.groupby("kind")["steps"].transform("max")]
    ends = longest.groupby("kind")["grad_norm"].mean()
    norms = ", ".join(f"{norm:.1e} in {kind}" for kind, norm in ends.items())
    return (
        f"Softmax regression ({describe(frame)}), no damping; {BAND}; slopes beyond 0 to 3 and errors above 1.5 are "
        "cut. On a convex problem full-batch SAM with a step size that goes to zero ends where g is zero: at any other "
        "point ⟨∇L(ω + ê), ê⟩ ≥ ρ‖g‖ > 0, so there is no other fixed point, and the implicit form tends to IF. ‖g‖ at "
        f"the end of the longest run: {norms}. Table: the longest runs."
    )


def answer(frame: pd.DataFrame) -> str:
    """What the Newton step gains at the fixed point, and off it."""
    means = frame.groupby(["kind", "steps", "method"])[["slope", "error"]].mean()
    parts = []
    for kind, part in frame.groupby("kind", sort=False):
        steps = sorted(part["steps"].unique())
        plain, newton = (means.loc[(kind, steps[-1], name)] for name in ("sam-hif-implicit", NEWTON))
        errors = means["error"].loc[kind].unstack()
        worse = [t for t in steps if not errors.loc[t, NEWTON] < errors.loc[t, "sam-hif-implicit"]]
        parts.append(
            f"in {kind} it moves the slope from {plain['slope']:.3f} to {newton['slope']:.3f} and the error of Δ from "
            f"{plain['error']:.3f} to {newton['error']:.3f} ({_where(worse)})"
        )
    return f"What a Newton step changes at the end of the longest runs: {', '.join(parts)}."


def _where(worse: list[int]) -> str:
    return f"but not at T = {', '.join(map(str, worse))}, where the error grows" if worse else "and at every shorter T"


EXPERIMENT = Experiment(
    name="fixed-point",
    title="Fixed points and the Newton step",
    measure=measure,
    cases={
        "beyond": [
            *over([Case("digits-logreg", FULL_BATCH)], "steps", STEPS),
            *over([Case("digits-logreg", SGD)], "steps", STEPS),
        ]
    },
    draw=draw,
    caption=caption,
    tabulate=tabulate,
    answer=answer,
)
