"""Question 3: variants of SAM, each attributed by the same methods with its own derivatives, against its own truth."""

import pandas as pd
from matplotlib.figure import Figure

from baselines.comparison import CORRELATION
from baselines.studies.over_variants import CASES, COMPARED, measure
from reports.curves import describe
from reports.dots import Mark, draw_dots
from reports.experiment import Experiment
from reports.intervals import brackets, summarise
from reports.labels import label_of
from reports.style import Style, style_of
from samattr_ref.sam.variants import VARIANTS

LABELS = {name: variant.label for name, variant in VARIANTS.items()}


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman of each method, a row a variant, a panel a workload."""
    rows = [Style(LABELS[name], "0.3", "", "-") for name in VARIANTS if name in set(frame["variant"])]
    dots = frame.assign(row=frame["variant"].map(LABELS), series=frame["method"], value=frame["spearman"])
    shown = {name: style_of(name) for name in COMPARED}
    marks = {name: Mark(of.label, of.marker, colour=of.colour) for name, of in shown.items()}
    return draw_dots(dots, rows, marks, "per-query Spearman with exact LOO", 1, CORRELATION)


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Spearman of each method, a row a workload and variant; and the accuracy of the network."""
    means = summarise(frame, ["workload", "variant", "method"], ["spearman", "accuracy"])
    means = means.assign(**brackets(means, {"spearman": "cell"}))
    keys = ["workload", "variant"]
    shown = means[means["method"] == COMPARED[0]][[*keys, "accuracy"]]
    for method in COMPARED:
        column = means[means["method"] == method][[*keys, "cell"]]
        shown = shown.merge(column.rename(columns={"cell": label_of(method)}), on=keys)
    shown["accuracy"] = [f"{value:.3f}" for value in shown["accuracy"]]
    shown["variant"] = [LABELS[name] for name in shown["variant"]]
    return shown.rename(columns={"workload": "Workload", "variant": "Trained with", "accuracy": "Accuracy"})


def caption(frame: pd.DataFrame) -> str:
    """The constants of each variant, and what the methods take from it."""
    others = "".join(
        f"; {variant.label} at {variant.radius:g} times that"
        + (f", its radius being in units of {variant.radius_unit}" if variant.radius_unit else "")
        for variant in map(VARIANTS.named, dict.fromkeys(frame["variant"]))
        if variant.radius != 1
    )
    return (
        "Networks trained with each variant at its paper's constants and the workload's ρ "
        f"({describe(frame)}{others}); every method with the variant's own perturbation and derivatives, against exact "
        "leave-one-out of the same run. Damping and curvature as chosen for SAM. 95 % t-intervals over seeds."
    )


def answer(frame: pd.DataFrame) -> str:
    """How the exact derivative and the best rival do on each variant."""
    parts = []
    for variant in dict.fromkeys(frame["variant"]):
        means = frame[frame["variant"] == variant].groupby("method")["spearman"].mean()
        best = str(means.drop("sam-unrolled").idxmax())
        parts.append(f"{LABELS[variant]} {means['sam-unrolled']:.2f} ({label_of(best)} {means[best]:.2f})")
    return f"Spearman of the exact derivative, over workloads, and of the next best method: {', '.join(parts)}."


EXPERIMENT = Experiment(
    name="variants",
    title="Question 3: variants of SAM",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
    answer=answer,
)
