"""Measured cost of every method in n, P, steps, C and J, beside the exponents of its formula."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from baselines.studies.growth import CASES, REPEATS, exponent, paths, time_methods
from reports.curves import describe, draw_methods
from reports.experiment import Experiment
from reports.intervals import bracket
from reports.labels import label_of
from reports.load import disturbed, starred
from reports.panels import label_y, legend, row_of_panels
from reports.scales import scale_y, ticks_at
from reports.style import figure_style
from samattr_ref.growth import AXES


def draw(frame: pd.DataFrame) -> Figure:
    """Seconds over each axis, both logarithmic."""
    axes_shown = [name for name in AXES if name in set(frame["axis"])]
    with figure_style():
        figure, axes = row_of_panels(len(axes_shown), 1.7)
        for axis, name in zip(axes, axes_shown, strict=True):
            part = frame[frame["axis"] == name]
            draw_methods(axis, part, "size", "seconds", "log")
            sizes = sorted(part["size"].unique())
            ticks_at(axis, sizes, [EngFormatter(places=0, sep="")(size) for size in sizes])
            axis.set_xlabel(AXES[name])
        scale_y(axes, "log")
        label_y(axes, "seconds, mean query")
        legend(figure, axes)
    return figure


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """The fitted exponent of each method and axis beside the one of its formula."""
    rows = []
    for (method, axis), part in frame.groupby(["method", "axis"], sort=False):
        known = paths()[method].growth
        slopes = [exponent(seed["size"], seed["seconds"]) for _, seed in part.groupby("seed")]
        rows.append(
            {
                "Method": label_of(method),
                "Cost": known.formula,
                "In": axis,
                "Formula's exponent": getattr(known, axis),
                "Measured exponent": starred(
                    bracket((float(np.mean(slopes)), min(slopes), max(slopes)), 2), disturbed(part)
                ),
                "Sizes": f"{part['size'].min()} to {part['size'].max()}",
            }
        )
    return pd.DataFrame(rows)


def caption(frame: pd.DataFrame) -> str:
    """What is timed, and how exponents are fitted."""
    return (
        "Seconds for the Influence Scores of all training points (one mean query of the validation set), nothing "
        f"computed before, the fastest of up to {REPEATS} calls ({describe(frame)}; bars 95 % t-intervals over "
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
