"""Removing the tenth of the training points that each method values most: retrained and edited accuracy."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from baselines.agreement import chosen_options
from baselines.editing import edit, group_of
from baselines.truth import leave_one_out, retraining_truth
from baselines.validation import GROUND_TRUTH
from reports.curves import bracket, describe, legend, summarise
from reports.experiment import DESK, PAPER, Case, Experiment
from reports.results import ORDER
from reports.style import PAGE_INCHES, figure_style, look
from samattr_ref.attribution import influence_score
from samattr_ref.registry import get_method
from samattr_ref.support.errors import SamattrError
from samattr_ref.training import train
from samattr_ref.workload import Workload

FRACTION = 0.1
HEADINGS = {"retrained_drop": "Drop, retrained", "edited_drop": "Drop, edited", "difference": "Edited − retrained"}


def measure(workload: Workload) -> pd.DataFrame:
    """Accuracy on the validation set without each method's most valuable points, by retraining and by its own edit."""
    run = train(workload)
    groups, options = {}, {}
    if workload.n_removed is None:
        groups[GROUND_TRUTH] = group_of(run, "most", FRACTION, leave_one_out(run).influence)
    for name in ORDER:
        options[name] = chosen_options(name, workload)
        value = influence_score(run, name, run.splits.validation, **options[name])
        groups[name] = group_of(run, "most", FRACTION, value)
    validation, test = run.splits.validation, run.splits.queries
    base, base_test = run.accuracy(validation), run.accuracy(test)
    rows = []
    retrained = retraining_truth(run, [group.sort().values for group in groups.values()]).parameters
    for (name, group), omega in zip(groups.items(), retrained, strict=True):
        drop = base - run.accuracy(validation, omega)
        row: dict[str, Any] = {"method": name, "accuracy": base, "retrained_drop": drop}
        row["test_drop"] = base_test - run.accuracy(test, omega)
        if name != GROUND_TRUTH and get_method(name).change is not None:
            try:
                edited = edit(run, name, [group], options[name])[0]
            except SamattrError:
                edited = torch.full_like(omega, torch.nan)
            row["edited_drop"] = base - run.accuracy(validation, edited) if edited.isfinite().all() else np.nan
            row["difference"] = drop - row["edited_drop"]
        rows.append(row)
    return pd.DataFrame(rows)


def draw(frame: pd.DataFrame) -> Figure:
    """Drops of accuracy a method, retrained beside edited, a panel a workload."""
    panels, names = (list(dict.fromkeys(frame[column])) for column in ("workload", "method"))
    places = {name: len(names) - i for i, name in enumerate(names)}
    with figure_style():
        figure, axes = plt.subplots(
            1, len(panels), figsize=(PAGE_INCHES, 2.7), sharey=True, squeeze=False, layout="constrained"
        )
        for axis, panel in zip(axes[0], panels, strict=True):
            part = frame[frame["workload"] == panel]
            means = summarise(part, ["method"], ["retrained_drop", "edited_drop"])
            rows = means["method"].map(places)
            for value, fill, shift, label in (
                ("retrained_drop", True, 0.15, "retrained"),
                ("edited_drop", False, -0.15, "edited by the method"),
            ):
                colours = [look(name).colour for name in means["method"]]
                for y, mean, low, high, colour in zip(
                    rows + shift, means[value], means[f"{value}_low"], means[f"{value}_high"], colours, strict=True
                ):
                    axis.plot([low, high], [y, y], color=colour, linewidth=0.8)
                    axis.plot(mean, y, "o", color=colour, markersize=4, fillstyle="full" if fill else "none")
                axis.plot([], [], "o", color="0.3", markersize=4, fillstyle="full" if fill else "none", label=label)
            axis.axvline(0, color="0.8", linewidth=0.6, zorder=0)
            axis.set_yticks(list(places.values()), [look(name).label for name in names])
            axis.set(title=panel, xlabel="drop in validation accuracy")
        legend(figure, axes[0, :1], "outside lower center", 2)
    return figure


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Drops of accuracy and the difference of edited and retrained accuracy."""
    means = summarise(frame, ["workload", "method"], list(HEADINGS))
    shown = pd.DataFrame({"Workload": means["workload"], "Method": [look(name).label for name in means["method"]]})
    for name, heading in HEADINGS.items():
        shown[heading] = [bracket(*row) for row in means[[name, f"{name}_low", f"{name}_high"]].to_numpy()]
    return shown


def caption(frame: pd.DataFrame) -> str:
    """What is shown."""
    return (
        f"The {FRACTION:.0%} of the training points with the highest Influence Score of each method removed together "
        f"({describe(frame)}; 95 % t-intervals over seeds). Filled: drop in validation accuracy of the retrained "
        "network; hollow: of the network edited by the same method. Difference: edited − retrained accuracy; 0 is a "
        "perfect edit."
    )


EXPERIMENT = Experiment(
    name="top-removal",
    title="Removing the most valuable tenth",
    measure=measure,
    cases={
        "desk": [
            *DESK,
            Case("cifar10-cnn", {"n_train": 200, "channels": (4, 8), "steps": 200, "n_validation": 1000}),
        ],
        "paper": PAPER,
    },
    draw=draw,
    caption=caption,
    tabulate=tabulate,
)
