"""How far truth goes: fidelity of the exact derivative as training gets longer, faster, smoother or rougher."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from baselines.agreement import agreement
from baselines.truth import leave_one_out
from reports.curves import bracket, describe, legend, plain_ticks, summarise
from reports.experiment import Case, Experiment
from reports.style import PAGE_INCHES, figure_style, look
from samattr_ref.attribution import attribute
from samattr_ref.support.errors import UnstableError
from samattr_ref.training import train
from samattr_ref.workload import Workload

AXES = {
    "steps": ("steps T", (50, 100, 200, 400, 800, 1600)),
    "learning_rate": ("peak step size η", (0.03, 0.1, 0.3, 1.0, 2.0, 3.0)),
    "momentum": ("momentum μ", (0.0, 0.5, 0.8, 0.9, 0.95, 0.98)),
    "rho": ("radius ρ", (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)),
}
ACTIVATIONS = ("tanh", "gelu", "relu")
COMPARED = ("sam-unrolled", "sam-gif")
LINES = dict(zip(ACTIVATIONS, ("-", "--", ":"), strict=True))
ATTRIBUTABLE = 0.95
SETTINGS = {"n_removed": 100}


def measure(workload: Workload, axis: str, value: float, activation: str) -> pd.DataFrame:
    """Agreement of the exact derivative and of SAM-GIF, and how much the derivative grows backwards through the run."""
    setting = {"axis": axis, "value": value, "activation": activation}
    try:
        run = train(workload.override(**{axis: value, "activation": activation}))
        truth = leave_one_out(run)
    except UnstableError as unstable:
        nothing = dict.fromkeys(("spearman", "growth", "accuracy"), math.nan)
        return pd.DataFrame([{"method": name, **setting, **nothing, "status": str(unstable)} for name in COMPARED])
    rows = [{"method": name, **agreement(truth, name, {})} for name in COMPARED]
    growth = attribute(run, "sam-unrolled", run.splits.queries.pool()).diagnostics["growth"]
    return pd.DataFrame(rows).assign(**setting, growth=growth, accuracy=run.accuracy(run.splits.validation))


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman over each axis, a line style an activation."""
    shown = [axis for axis in AXES if axis in set(frame["axis"])]
    with figure_style():
        figure, axes = plt.subplots(
            1, len(shown), figsize=(PAGE_INCHES, 2.4), sharey=True, squeeze=False, layout="constrained"
        )
        for axis, name in zip(axes[0], shown, strict=True):
            part = frame[frame["axis"] == name]
            for method in COMPARED:
                for activation in dict.fromkeys(part["activation"]):
                    one = part[(part["method"] == method) & (part["activation"] == activation)]
                    curve = summarise(one, ["value"], ["spearman"]).sort_values("value")
                    colour = look(method).colour
                    low, high = curve["spearman_low"].clip(lower=-1), curve["spearman_high"].clip(upper=1)
                    axis.fill_between(curve["value"], low, high, color=colour, alpha=0.1, lw=0)
                    label = f"{look(method).label}, {activation}"
                    style = {"linestyle": LINES[activation], "marker": look(method).marker, "markersize": 3}
                    axis.plot(curve["value"], curve["spearman"], color=colour, linewidth=1, label=label, **style)
            if name != "momentum":
                axis.set_xscale("log")
                plain_ticks(axis.xaxis)
            axis.set_xlabel(AXES[name][0])
        axes[0, 0].set(ylabel="per-query Spearman\nwith exact LOO", ylim=(-0.1, 1.03))
        legend(figure, axes[0], "outside lower center", 3)
    return figure


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Spearman of the exact derivative, its growth and the accuracy of the network."""
    own = frame[frame["method"] == COMPARED[0]].assign(growth=np.log10(frame["growth"].clip(lower=1e-30)))
    means = summarise(own, ["axis", "value", "activation"], ["spearman", "growth", "accuracy"])
    varied = [f"{AXES[axis][0]} = {value:g}" for axis, value in zip(means["axis"], means["value"], strict=True)]
    shown = pd.DataFrame({"Varied": varied, "Activation": means["activation"]})
    headings = {"spearman": "Spearman", "growth": "log10 growth", "accuracy": "Accuracy"}
    for name, heading in headings.items():
        shown[heading] = [bracket(*row) for row in means[[name, f"{name}_low", f"{name}_high"]].to_numpy()]
    counted = own.groupby(["axis", "value", "activation"], sort=False)["spearman"].agg(["count", "size"])
    shown["Stable runs"] = [f"{count} of {size}" for count, size in counted.to_numpy()]
    return shown


def caption(frame: pd.DataFrame) -> str:
    """What is shown."""
    return (
        f"One setting of the recipe varied, the others as the workload has them, three activations ({describe(frame)}; "
        f"{SETTINGS['n_removed']} removals a run). Bands: 95 % t-intervals over seeds. Growth: the largest "
        "‖dℓ/dω_0‖/‖dℓ/dω_T‖ of the mean query; where it is far above 1 the run is chaotic and no derivative stands "
        "for the removal of a point. A run is stable where training does not diverge and a retraining with nothing "
        "removed ends where it did; means are over those."
    )


def answer(frame: pd.DataFrame) -> str:
    """The recipe that keeps a run attributable."""
    own = frame[frame["method"] == COMPARED[0]]
    means = own.groupby(["axis", "activation", "value"], sort=False)["spearman"].mean()
    parts = []
    for axis in (name for name in AXES if name in set(own["axis"])):
        kept = [
            f"{activation} {_range([v for v, s in means[axis, activation].items() if s >= ATTRIBUTABLE])}"
            for activation in dict.fromkeys(own["activation"])
        ]
        parts.append(f"{AXES[axis][0]}: {', '.join(kept)}")
    return f"Spearman of the exact derivative is {ATTRIBUTABLE} or more at, of the values tried, {'; '.join(parts)}."


def _range(values: list[float]) -> str:
    return "none" if not values else f"{min(values):g} to {max(values):g}" if len(values) > 1 else f"{values[0]:g}"


EXPERIMENT = Experiment(
    name="attributable",
    title="How far truth goes",
    measure=measure,
    cases={
        "beyond": [
            Case("digits-mlp", SETTINGS, {"axis": axis, "value": value, "activation": activation})
            for axis, (_, values) in AXES.items()
            for value in values
            for activation in ACTIVATIONS
        ]
    },
    draw=draw,
    caption=caption,
    tabulate=tabulate,
    answer=answer,
)
