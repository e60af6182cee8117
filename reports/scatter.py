"""Predicted against exact leave-one-out effect on the mean query, a panel a method."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from baselines.metrics import slope, spearman_per_query
from baselines.studies.profiles import Results
from baselines.validation import GROUND_TRUTH
from reports.panels import grid
from reports.style import figure_style, style_of

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
    with figure_style():
        figure, axes = grid(-(-len(names) // COLUMNS), COLUMNS, 1.65, sharey=True)
        for axis, name in zip(axes.flat, names, strict=False):
            part = frame[frame["method"] == name]
            predicted, true = part["predicted"].to_numpy() * 1e3, part["true"].to_numpy() * 1e3
            shown = style_of(name)
            axis.axhline(0, color="0.85", linewidth=0.5, zorder=0)
            axis.axvline(0, color="0.85", linewidth=0.5, zorder=0)
            axis.axline((0, 0), slope=1, color="0.4", linestyle="--", linewidth=0.7)
            axis.scatter(predicted, true, s=3, color=shown.colour, alpha=0.5, linewidths=0, rasterized=True)
            low, high = min(predicted.min(), 0), max(predicted.max(), 0)
            axis.set_xlim(low - 0.05 * (high - low), high + 0.05 * (high - low))
            axis.xaxis.set_major_locator(MaxNLocator(3))
            axis.xaxis.set_major_formatter(EngFormatter(sep=""))
            rank = spearman_per_query(predicted[:, None], true[:, None])[0]
            size = slope(predicted[:, None], true[:, None])
            axis.set_title(shown.label, pad=22)
            numbers = f"Spearman {rank:.2f}\nslope {size:.2g}".replace("-", "−")
            axis.text(0.5, 1.03, numbers, transform=axis.transAxes, ha="center", va="bottom")
        for axis in axes.flat[len(names) :]:
            axis.set_axis_off()
        figure.supxlabel("predicted change of the mean query's loss (10⁻³ nats)")
        figure.supylabel("exact leave-one-out (10⁻³ nats)")
    return figure
