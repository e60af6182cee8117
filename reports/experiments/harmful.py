"""The most harmful training examples, looked at: are they wrong, rare or merely hard?"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from baselines.studies.kinds_of_points import CASES, SHOWN, measure
from reports.curves import describe
from reports.experiment import Experiment
from reports.intervals import brackets, summarise
from reports.labels import label_of
from reports.style import PAGE_INCHES, figure_style

SHARE = 0.05

KINDS = ("wrong", "rare", "hard", "none")
_COLOURS = {"wrong": "#D55E00", "rare": "#0173B2", "hard": "#029E73", "none": "0.4"}


def draw(frame: pd.DataFrame) -> Figure:
    """The images of lowest score by each workload's first method, of the first seed, with the label they were given."""
    workloads = list(dict.fromkeys(frame["workload"]))
    with figure_style():
        figure, axes = plt.subplots(
            2 * len(workloads),
            SHOWN // 2,
            figsize=(PAGE_INCHES, 2.3 * len(workloads)),
            squeeze=False,
            layout="constrained",
        )
        for i, workload in enumerate(workloads):
            part = frame[(frame["workload"] == workload) & (frame["seed"] == frame["seed"].min())]
            worst = part[part["method"] == part["method"].iloc[0]].nsmallest(SHOWN, "score")
            for axis, row in zip(axes[2 * i : 2 * i + 2].flat, worst.itertuples(), strict=True):
                image = np.array(row.image, dtype=float)
                side = np.sqrt(len(image) / (3 if len(image) % 3 == 0 and len(image) > 784 else 1))
                shape = (3, int(side), int(side)) if len(image) != int(side) ** 2 else (1, int(side), int(side))
                pixels = image.reshape(shape).transpose(1, 2, 0)
                pixels = (pixels - pixels.min()) / max(1e-9, pixels.max() - pixels.min())
                axis.imshow(pixels if shape[0] == 3 else pixels[..., 0], cmap="gray_r", interpolation="nearest")
                axis.set_title(f"{row.given} ({row.clean})", fontsize=7, color=_COLOURS[row.kind], pad=2)
                axis.set(xticks=[], yticks=[])
                for spine in axis.spines.values():
                    spine.set(visible=True, color=_COLOURS[row.kind], linewidth=1.2)
            axes[2 * i, 0].set_ylabel(f"{workload}\nby {label_of(part['method'].iloc[0])}", fontsize=7, loc="top")
        handles = [Line2D([], [], color=_COLOURS[kind], linewidth=3, label=kind) for kind in KINDS]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(KINDS), frameon=False)
    return figure


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Share of each kind among all points and among those that each method finds most harmful."""
    rows = []
    for (workload, seed), part in frame.groupby(["workload", "seed"], sort=False):
        by_method = dict(list(part.groupby("method", sort=False)))
        groups = {"all points": next(iter(by_method.values()))}
        groups |= {label_of(name): of.nsmallest(round(SHARE * len(of)), "score") for name, of in by_method.items()}
        for name, group in groups.items():
            shares = {kind: (group["kind"] == kind).mean() for kind in KINDS}
            rows.append({"Workload": workload, "Method": name, "seed": seed, **shares})
    means = summarise(pd.DataFrame(rows), ["Workload", "Method"], KINDS)
    return means[["Workload", "Method"]].assign(**brackets(means, {kind: kind.capitalize() for kind in KINDS}))


def caption(frame: pd.DataFrame) -> str:
    """What makes a point wrong, rare or hard."""
    return (
        f"The {SHOWN} training points of lowest Influence Score (given label, in brackets the right one) of the first "
        "seed. Wrong: the label is wrong. Rare: the label is right, and fewer than 3 of the 10 nearest training "
        "inputs have it as their right label. Hard: right and not rare, but the same run without the point's fold (5 "
        f"folds) predicts another class. Table: shares of each kind among the {SHARE:.0%} of the points with the "
        f"lowest scores ({describe(frame)}; 95 % t-intervals)."
    )


EXPERIMENT = Experiment(
    name="harmful",
    title="The most harmful examples",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
)
