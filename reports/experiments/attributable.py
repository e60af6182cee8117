"""How far truth goes: fidelity of the exact derivative as training gets longer, faster, smoother or rougher."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from baselines.comparison import CORRELATION
from baselines.studies.over_recipe import ACTIVATIONS, CASES, COMPARED, SETTINGS, measure
from reports.curves import describe, draw_line
from reports.experiment import Experiment
from reports.intervals import brackets, summarise, triple
from reports.panels import label_y, legend, row_of_panels
from reports.scales import scale_x, scale_y
from reports.style import figure_style, style_of
from reports.verdicts import HOLDS, decide

AXES = {"steps": "steps T", "learning_rate": "peak step size η", "momentum": "momentum μ", "rho": "radius ρ"}
LINES = dict(zip(ACTIVATIONS, ("-", "--", ":"), strict=True))
CALLED = {"relu": "ReLU", "gelu": "GELU"}
"""Activations whose label is not their name."""

ATTRIBUTABLE = 0.95


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman over each axis, a line style an activation."""
    shown = [axis for axis in AXES if axis in set(frame["axis"])]
    with figure_style():
        figure, axes = row_of_panels(len(shown), 1.9)
        for axis, name in zip(axes, shown, strict=True):
            part = frame[frame["axis"] == name]
            kinds = list(itertools.product(COMPARED, dict.fromkeys(part["activation"])))
            for number, (method, activation) in enumerate(kinds):
                one = part[(part["method"] == method) & (part["activation"] == activation)]
                named = CALLED.get(activation, activation)
                of = replace(style_of(method, named), line=LINES[activation], filled=activation == ACTIVATIONS[0])
                draw_line(axis, one, "value", "spearman", of, moved=number - (len(kinds) - 1) / 2)
            scale_x(axis, "linear" if name == "momentum" else "log", part["value"])
            axis.set_xlabel(AXES[name])
        scale_y(axes, "linear", CORRELATION)
        label_y(axes, "per-query Spearman\nwith exact LOO")
        legend(figure, axes, 3)
    return figure


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Spearman of the exact derivative, its growth and the accuracy of the network."""
    own = frame[frame["method"] == COMPARED[0]].assign(log10_growth=np.log10(frame["growth"].clip(lower=1e-30)))
    means = summarise(own, ["axis", "value", "activation"], ["spearman", "log10_growth", "accuracy"])
    varied = [f"{AXES[axis]} = {value:g}" for axis, value in zip(means["axis"], means["value"], strict=True)]
    shown = pd.DataFrame({"Varied": varied, "Activation": means["activation"].replace(CALLED)})
    headings = {"spearman": "Spearman", "log10_growth": "log10 growth", "accuracy": "Accuracy"}
    shown = shown.assign(**brackets(means, headings))
    counted = own.groupby(["axis", "value", "activation"], sort=False)["spearman"].agg(["count", "size"])
    shown["Stable runs"] = [f"{count} of {size}" for count, size in counted.to_numpy()]
    return shown


def caption(frame: pd.DataFrame) -> str:
    """Which setting is varied, what growth is, and when a run counts as stable."""
    return (
        f"One setting of the recipe varied, the others as the workload has them, three activations ({describe(frame)}; "
        f"{SETTINGS['n_removed']} removals a run). Bars: 95 % t-intervals over seeds. Growth: the largest "
        "‖dℓ/dω_0‖/‖dℓ/dω_T‖ of the mean query; where it is far above 1 the run is chaotic and no derivative stands "
        "for the removal of a point. A run is stable where training does not diverge and a retraining with nothing "
        "removed ends where it did; means are over those."
    )


def answer(frame: pd.DataFrame) -> str:
    """The recipe that keeps a run attributable."""
    own = frame[frame["method"] == COMPARED[0]]
    means = summarise(own, ["axis", "activation", "value"], ["spearman"])
    above = means.apply(lambda row: decide(tuple(row[triple("spearman")]), above=ATTRIBUTABLE) == HOLDS, axis=1)
    parts = []
    for axis in (name for name in AXES if name in set(own["axis"])):
        kept = []
        for activation in dict.fromkeys(own["activation"]):
            there = means[above & (means["axis"] == axis) & (means["activation"] == activation)]
            kept.append(f"{CALLED.get(activation, activation)} {_range(sorted(there['value']))}")
        parts.append(f"{AXES[axis]}: {', '.join(kept)}")
    return (
        f"Spearman of the exact derivative is above {ATTRIBUTABLE}, by its whole interval, at, of the values tried, "
        f"{'; '.join(parts)}."
    )


def _range(values: list[float]) -> str:
    return "none" if not values else f"{min(values):g} to {max(values):g}" if len(values) > 1 else f"{values[0]:g}"


EXPERIMENT = Experiment(
    name="attributable",
    title="How far truth goes",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
    answer=answer,
)
