"""The most harmful training examples, looked at: are they wrong, rare or merely hard?"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from baselines.harmful import harmful
from reports.curves import bracket, describe, summarise
from reports.experiment import Case, Experiment
from reports.style import PAGE_INCHES, figure_style
from samattr_ref.workload import Workload

SHOWN = 16
SHARE = 0.05
KINDS = ("wrong", "rare", "hard", "none")
_COLOURS = {"wrong": "#D55E00", "rare": "#0173B2", "hard": "#029E73", "none": "0.4"}


def measure(workload: Workload, method: str) -> pd.DataFrame:
    """Every training point with its score and what kind it is; the image of the most harmful ones."""
    return harmful(workload, method, SHOWN)


def draw(frame: pd.DataFrame) -> Figure:
    """The most harmful images of the first seed, a row a workload, with the label that they were given."""
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
            worst = part.nsmallest(SHOWN, "score")
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
            axes[2 * i, 0].set_ylabel(workload, fontsize=7, loc="top")
        handles = [plt.Line2D([], [], color=_COLOURS[kind], linewidth=3, label=kind) for kind in KINDS]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(KINDS), frameon=False)
    return figure


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Share of each kind among the most harmful points and among all."""
    rows = []
    for (workload, seed), part in frame.groupby(["workload", "seed"], sort=False):
        worst = part.nsmallest(round(SHARE * len(part)), "score")
        for kind in KINDS:
            row = {"workload": workload, "seed": seed, "kind": kind}
            rows.append(row | {"worst": (worst["kind"] == kind).mean(), "all": (part["kind"] == kind).mean()})
    means = summarise(pd.DataFrame(rows), ["workload", "kind"], ["worst", "all"])
    shown = pd.DataFrame({"Workload": means["workload"], "Kind": means["kind"]})
    for value, heading in (("worst", f"Share of the worst {SHARE:.0%}"), ("all", "Share of all")):
        shown[heading] = [bracket(*row) for row in means[[value, f"{value}_low", f"{value}_high"]].to_numpy()]
    return shown


def caption(frame: pd.DataFrame) -> str:
    """What is shown."""
    return (
        f"The {SHOWN} training points of lowest Influence Score (given label, in brackets the right one) of the first "
        "seed. Wrong: the label is wrong. Rare: the label is right, and fewer than 3 of the 10 nearest training "
        "inputs have it as their right label. Hard: right and not rare, but the same run without the point's fold (5 "
        f"folds) predicts another class. Table: {describe(frame)}; 95 % t-intervals. Exact LOO scores where every "
        "point's are known, else SAM-IF's."
    )


EXPERIMENT = Experiment(
    name="harmful",
    title="The most harmful examples",
    measure=measure,
    cases={
        "desk": [
            Case("digits-mlp", arguments={"method": "loo"}),
            Case("cifar10n-cnn", {"n_train": 500, "channels": (4, 8), "steps": 200}, {"method": "sam-if"}),
        ]
    },
    draw=draw,
    caption=caption,
    tabulate=tabulate,
)
