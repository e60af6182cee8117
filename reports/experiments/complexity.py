"""Measured cost of every method in n, P, steps, C and J, beside the exponents of its formula."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from baselines.studies.growth import CASES, REPEATS, exponent, paths, time_methods
from reports.curves import describe, legend, summarise
from reports.experiment import Experiment
from reports.style import PAGE_INCHES, figure_style, look
from samattr_ref.growth import AXES


def draw(frame: pd.DataFrame) -> Figure:
    """Seconds over each axis, both logarithmic."""
    axes_shown = [name for name in AXES if name in set(frame["axis"])]
    with figure_style():
        figure, axes = plt.subplots(
            1, len(axes_shown), figsize=(PAGE_INCHES, 2.5), sharey=True, squeeze=False, layout="constrained"
        )
        for axis, name in zip(axes[0], axes_shown, strict=True):
            part = frame[frame["axis"] == name]
            for method in dict.fromkeys(part["method"]):
                means = summarise(part[part["method"] == method], ["size"], ["seconds"]).sort_values("size")
                shown = look(method)
                low = means["seconds_low"].clip(lower=means["seconds"] / 3)  # a log axis has no room for less
                axis.fill_between(means["size"], low, means["seconds_high"], color=shown.colour, alpha=0.12, lw=0)
                style = {"color": shown.colour, "linestyle": shown.line, "marker": shown.marker}
                axis.plot(means["size"], means["seconds"], **style, markersize=3, linewidth=1, label=shown.label)
            axis.set(xscale="log", yscale="log", xlabel=AXES[name])
            sizes = sorted(part["size"].unique())
            axis.set_xticks([sizes[0], sizes[len(sizes) // 2], sizes[-1]])
            axis.xaxis.set_major_formatter(EngFormatter(places=0, sep=""))
            axis.minorticks_off()
        axes[0, 0].set_ylabel("seconds, mean query")
        legend(figure, axes[0], "outside lower center", 5)
    return figure


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """The fitted exponent of each method and axis beside the one of its formula."""
    rows = []
    for (method, axis), part in frame.groupby(["method", "axis"], sort=False):
        known = paths()[method].growth
        slopes = [exponent(seed["size"], seed["seconds"]) for _, seed in part.groupby("seed")]
        spread = f"{np.mean(slopes):.2f} [{min(slopes):.2f}, {max(slopes):.2f}]"
        rows.append(
            {
                "Method": look(method).label,
                "Cost": known.formula,
                "In": axis,
                "Formula's exponent": getattr(known, axis),
                "Measured exponent": spread,
                "Sizes": f"{part['size'].min()} to {part['size'].max()}",
            }
        )
    return pd.DataFrame(rows)


def caption(frame: pd.DataFrame) -> str:
    """What is shown."""
    return (
        "Seconds for the Influence Scores of all training points (one mean query of the validation set), nothing "
        f"computed before, the fastest of up to {REPEATS} calls ({describe(frame)}; bands 95 % t-intervals over "
        "seeds). F: cost of a forward pass of one point, ∝ P; B: points a batch. Exponents are least-squares slopes of "
        "log seconds over the larger half of the sizes, in brackets the lowest and highest seed; below the formula's "
        "where a fixed overhead a step still counts, above it where caches are outgrown. TracIn-CP visits the points "
        "that took part in a segment: n in its formula is no more than T B / C, which is all that it grows with here."
    )


EXPERIMENT = Experiment(
    name="complexity",
    title="Measured complexity",
    measure=time_methods,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
    timed=True,
)
