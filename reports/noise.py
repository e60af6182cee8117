"""Wrong labels found by inspecting the points of lowest Influence Score first, a panel a workload."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from baselines.metrics import noise_curve
from baselines.studies.profiles import Results
from reports.curves import legend
from reports.style import figure_style, row_of_panels, style_of


def compute(results: Results) -> pd.DataFrame:
    """One row a workload, method, seed and number of inspected points: `inspected` and `found`, shares in [0, 1]."""
    frames = []
    for result in results.validations:
        noisy = np.array(result.influence["noisy"]) > 0
        if result.metrics["noise_auc"] is not None:
            curve = noise_curve(np.array(result.influence["score"]), noisy)
            frames.append(curve.assign(workload=result.workload, method=result.method, seed=result.seed))
    columns = ["workload", "method", "seed", "inspected", "found"]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def draw(frame: pd.DataFrame) -> Figure:
    """Mean over seeds with a band from the lowest to the highest seed; grey is what inspecting at random finds."""
    workloads = list(dict.fromkeys(frame["workload"]))
    with figure_style():
        figure, axes = row_of_panels(len(workloads), 2.9)
        for axis, workload in zip(axes, workloads, strict=True):
            part = frame[frame["workload"] == workload]
            axis.plot([0, 1], [0, 1], color="0.8", linewidth=0.8)
            for name in dict.fromkeys(part["method"]):
                curves = part[part["method"] == name].pivot(index="inspected", columns="seed", values="found")
                shown = style_of(name)
                axis.fill_between(
                    curves.index, curves.min(axis=1), curves.max(axis=1), color=shown.colour, alpha=0.1, lw=0
                )
                axis.plot(
                    curves.index,
                    curves.mean(axis=1),
                    color=shown.colour,
                    linestyle=shown.line,
                    linewidth=1.1,
                    label=shown.label,
                )
            axis.set(title=workload, xlabel="share of the training points inspected", xlim=(0, 1), ylim=(0, 1.01))
        axes[0].set_ylabel("share of the wrong labels found")
        legend(figure, axes[:1])
    return figure
