"""Predicted against exact leave-one-out effect on the mean query, a panel a method."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from baselines.metrics import slope, spearman_per_query
from baselines.studies.profiles import Results
from baselines.validation import GROUND_TRUTH
from reports.style import PAGE_INCHES, figure_style, style_of

COLUMNS = 5


def compute(results: Results, workload: str) -> pd.DataFrame:
    """One row a method, seed and removed point: `predicted` and `true` change of the mean query's loss, in nats."""
    frames = [
        pd.DataFrame({"method": result.method, "seed": result.seed, **result.mean_effect})
        for result in results.validations
        if result.workload == workload and result.method != GROUND_TRUTH
    ]
    return pd.concat(frames, ignore_index=True)


def draw(frame: pd.DataFrame) -> Figure:
    """A panel a method, all seeds; the dashed line is a prediction of the right size."""
    names = list(dict.fromkeys(frame["method"]))
    rows = -(-len(names) // COLUMNS)
    with figure_style():
        figure, axes = plt.subplots(
            rows, COLUMNS, figsize=(PAGE_INCHES, 1.75 * rows), sharey=True, squeeze=False, layout="constrained"
        )
        for axis, name in zip(axes.flat, names, strict=False):
            part = frame[frame["method"] == name]
            predicted, true = part["predicted"].to_numpy() * 1e3, part["true"].to_numpy() * 1e3
            shown = style_of(name)
            axis.axhline(0, color="0.85", linewidth=0.5, zorder=0)
            axis.axvline(0, color="0.85", linewidth=0.5, zorder=0)
            axis.axline((0, 0), slope=1, color="0.4", linestyle="--", linewidth=0.7)
            axis.scatter(predicted, true, s=3, color=shown.colour, alpha=0.5, linewidths=0, rasterized=True)
            limit = 1.08 * np.abs(predicted).max()
            axis.set_xlim(-limit, limit)
            rank = spearman_per_query(predicted[:, None], true[:, None])[0]
            size = slope(predicted[:, None], true[:, None])
            axis.set_title(shown.label)
            numbers = f"Spearman {rank:.2f}\nslope {size:.2g}"
            box = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1}
            axis.text(0.04, 0.97, numbers, transform=axis.transAxes, va="top", fontsize=6, bbox=box)
        bottom, top = axes[0, 0].get_ylim()
        axes[0, 0].set_ylim(bottom, top + 0.3 * (top - bottom))  # room for the numbers
        for axis in axes.flat[len(names) :]:
            axis.set_axis_off()
        figure.supxlabel("predicted change of the mean query's loss (10⁻³ nats)", fontsize=8)
        figure.supylabel("exact leave-one-out (10⁻³ nats)", fontsize=8)
    return figure
