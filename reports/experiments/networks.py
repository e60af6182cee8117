"""The networks of a page: accuracy over the epochs, and what it ends at."""

import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.trained_networks import CASES, measure
from reports.curves import describe
from reports.experiment import Experiment
from reports.load import disturbed, remark, starred
from reports.panels import label_y, legend, row_of_panels
from reports.style import figure_style

LINES = {"accuracy": ("validation accuracy", "black", "-"), "fitted": ("wrong labels fitted", "#D55E00", "--")}


def draw(frame: pd.DataFrame) -> Figure:
    """Accuracy and the share of the wrong labels that are fitted over the epochs, a panel a workload."""
    workloads = list(dict.fromkeys(frame["workload"]))
    with figure_style():
        figure, axes = row_of_panels(len(workloads), 1.6)
        for axis, workload in zip(axes, workloads, strict=True):
            part = frame[(frame["workload"] == workload) & (frame["run"] == 0)]
            part = part.groupby("step", sort=True)[["epoch", *LINES]].mean()
            for column, (label, colour, line) in LINES.items():
                axis.plot(part["epoch"], part[column], color=colour, linestyle=line, linewidth=1.1, label=label)
            axis.set(title=workload, xlabel="epochs", ylim=(0, 1.02))
        label_y(axes, "share")
        legend(figure, axes)
    return figure


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """What each network is at its end: least and greatest of its runs in brackets."""
    ends = frame.drop_duplicates(["workload", "seed", "run"])
    rows = []
    for workload, part in ends.groupby("workload", sort=False):
        accuracy = part["final_accuracy"]
        several = f" [{accuracy.min():.4f}, {accuracy.max():.4f}]" if len(part) > 1 else ""
        fitted = part["final_fitted"].mean()
        rows.append(
            {
                "Workload": workload,
                "Points": f"{part['n_train'].iloc[0]:,}",
                "Parameters": f"{part['n_parameters'].iloc[0]:,}",
                "Epochs": f"{part['final_epochs'].mean():.1f}",
                "Runs": len(part),
                "Accuracy": f"{accuracy.mean():.4f}{several}",
                "Training": f"{part['final_training_accuracy'].mean():.3f}",
                "Wrong labels fitted": "–" if pd.isna(fitted) else f"{fitted:.1%}",
                "Seconds": starred(f"{part['seconds'].mean():.0f}", disturbed(part)),
            }
        )
    return pd.DataFrame(rows)


def caption(frame: pd.DataFrame) -> str:
    """What the curves and the columns are."""
    return (
        f"The networks that this page attributes ({describe(frame)}). Curves: the first run, at states that it keeps. "
        "Accuracy: on the validation points, the mean over runs of different seeds (points, start and batches), in "
        "brackets the least and the greatest. Training: accuracy on the labels that it was trained on. Seconds: of one "
        f"training, beside whatever else the machine did.{remark(frame)}"
    )


EXPERIMENT = Experiment(
    name="networks",
    title="The networks",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
)
