"""Question 3: variants of SAM, each attributed by the same methods with its own derivatives, against its own truth."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.over_variants import CASES, COMPARED, RADII, measure
from reports.curves import bracket, describe, legend, summarise
from reports.experiment import Experiment
from reports.style import PAGE_INCHES, figure_style, look
from samattr_ref.sam.variants import VARIANTS

LABELS = {
    "sam": "SAM",
    "asam": "ASAM",
    "fisher-sam": "Fisher-SAM",
    "friendly-sam": "Friendly-SAM",
    "esam": "ESAM",
    "gsam": "GSAM",
}


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman of each method, a row a variant, a panel a workload."""
    panels = list(dict.fromkeys(frame["workload"]))
    names = [name for name in reversed(list(VARIANTS)) if name in set(frame["variant"])]
    shifts = np.linspace(0.3, -0.3, len(COMPARED))
    with figure_style():
        figure, axes = plt.subplots(
            1, len(panels), figsize=(PAGE_INCHES, 3.2), sharey=True, squeeze=False, layout="constrained"
        )
        for axis, panel in zip(axes[0], panels, strict=True):
            means = summarise(frame[frame["workload"] == panel], ["variant", "method"], ["spearman"])
            means = means.set_index(["variant", "method"])
            for shift, method in zip(shifts, COMPARED, strict=True):
                shown = look(method)
                rows = [row + shift for row in range(len(names))]
                found = [means.loc[(name, method)] for name in names]
                for y, one in zip(rows, found, strict=True):
                    axis.plot([one["spearman_low"], one["spearman_high"]], [y, y], color=shown.colour, linewidth=0.9)
                values = [one["spearman"] for one in found]
                style = {"color": shown.colour, "marker": shown.marker, "linestyle": "", "markersize": 4}
                axis.plot(values, rows, label=shown.label, **style)
            axis.set_yticks(range(len(names)), [LABELS[name] for name in names])
            axis.axvline(1, color="black", linewidth=0.8)
            axis.set(title=panel, xlabel="per-query Spearman with exact LOO", xlim=(None, 1.03))
        legend(figure, axes[0, :1], "outside lower center", len(COMPARED))
    return figure


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Spearman of each method, a row a workload and variant; and the accuracy of the network."""
    means = summarise(frame, ["workload", "variant", "method"], ["spearman", "accuracy"])
    means["cell"] = [bracket(*row) for row in means[["spearman", "spearman_low", "spearman_high"]].to_numpy()]
    keys = ["workload", "variant"]
    shown = means[means["method"] == COMPARED[0]][[*keys, "accuracy"]]
    for method in COMPARED:
        column = means[means["method"] == method][[*keys, "cell"]]
        shown = shown.merge(column.rename(columns={"cell": look(method).label}), on=keys)
    shown["accuracy"] = [f"{value:.3f}" for value in shown["accuracy"]]
    shown["variant"] = [LABELS[name] for name in shown["variant"]]
    return shown.rename(columns={"workload": "Workload", "variant": "Trained with", "accuracy": "Accuracy"})


def caption(frame: pd.DataFrame) -> str:
    """What is shown."""
    return (
        f"Networks trained with each variant at its paper's constants and the workload's ρ ({describe(frame)}; ASAM at "
        f"{RADII['asam']:g} times that, its radius being in units of the parameters' size); every method with the "
        "variant's own perturbation and derivatives, against exact leave-one-out of the same run. Damping and "
        "curvature as chosen for SAM. 95 % t-intervals over seeds."
    )


def answer(frame: pd.DataFrame) -> str:
    """How the exact derivative and the best rival do on each variant."""
    parts = []
    for variant in dict.fromkeys(frame["variant"]):
        means = frame[frame["variant"] == variant].groupby("method")["spearman"].mean()
        best = str(means.drop("sam-unrolled").idxmax())
        parts.append(f"{LABELS[variant]} {means['sam-unrolled']:.2f} ({look(best).label} {means[best]:.2f})")
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
