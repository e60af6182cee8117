"""Accuracy against attributability: the front of recipes that a user chooses from."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from baselines.studies.attributable_recipes import CASES, FRACTION, SUBSETS, measure
from reports.curves import describe
from reports.experiment import Experiment
from reports.intervals import brackets, summarise
from reports.panels import label_y, legend, name_points, row_of_panels
from reports.style import figure_style, style_of

HEADINGS = {
    "accuracy": "Accuracy",
    "spearman": "Spearman, effects",
    "cosine": "Cosine of Δ",
    "ratio": "Predicted over exact ‖Δ‖",
}


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman over accuracy, a point a recipe, those on the front filled and joined."""
    panels = list(dict.fromkeys(frame["workload"]))
    numbers = {name: number for number, name in enumerate(dict.fromkeys(frame["recipe"]), start=1)}
    colour = style_of("sam-unrolled").colour
    with figure_style():
        figure, axes = row_of_panels(len(panels), 2.9, most=2)
        axes[0].set_yscale("function", functions=(_towards_one, _from_one))
        for axis, panel in zip(axes, panels, strict=True):
            means = _means(frame[frame["workload"] == panel])
            best = front(means)
            axis.plot(means["accuracy"], means["spearman"], "o", color=colour, fillstyle="none", markersize=4)
            axis.plot(best["accuracy"], best["spearman"], "o-", color=colour, linewidth=0.8, markersize=4)
            axis.set(title=panel, xlabel="validation accuracy")
            axis.margins(0.08)
            axis.xaxis.set_major_locator(MaxNLocator(5))
        axes[0].set_yticks([value for value in TICKS if value < frame["spearman"].max()])
        label_y(axes, "Spearman of predicted with exact effects")
        for name, number in numbers.items():
            axes[0].plot([], [], " ", label=f"{number}  {name}")
        legend(figure, axes[:1])
        for axis, panel in zip(axes, panels, strict=True):
            means = _means(frame[frame["workload"] == panel]).dropna()
            names = [str(numbers[recipe]) for recipe in means["recipe"]]
            name_points(axis, means[["accuracy", "spearman"]].to_numpy(), names)
    return figure


TICKS = (-0.5, 0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99)


def _towards_one(values: np.ndarray) -> np.ndarray:
    """A scale for correlations: the last tenth below 1 takes as much room as all below that."""
    return -np.log10(np.maximum(1.02 - np.asarray(values), 1e-3))


def _from_one(places: np.ndarray) -> np.ndarray:
    return 1.02 - 10.0 ** -np.asarray(places)


def _means(frame: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds, a row a recipe, in their order."""
    return frame.groupby("recipe", sort=False)[["accuracy", "spearman"]].mean().reset_index()


def front(means: pd.DataFrame) -> pd.DataFrame:
    """The recipes that no other beats in both, by accuracy."""
    known = means.dropna().sort_values("accuracy", ascending=False)
    return known[known["spearman"] >= known["spearman"].cummax()]


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """What each recipe reaches."""
    means = summarise(frame, ["workload", "recipe"], list(HEADINGS))
    table = pd.DataFrame({"Workload": means["workload"], "Recipe": means["recipe"]})
    return table.assign(**brackets(means, HEADINGS))


def caption(frame: pd.DataFrame) -> str:
    """What is predicted."""
    return (
        f"Recipes by what they differ in from the one that is registered ({describe(frame)}; plain: without norm and "
        f"He's weights): accuracy, and how well the exact derivative of the run predicts retraining without "
        f"{FRACTION:.0%} of the points, as Spearman over the effects on all validation points and by the change of the "
        f"parameters, means over {SUBSETS} random "
        "subsets. Filled: no other recipe is better in both."
    )


def answer(frame: pd.DataFrame) -> str:
    """What the best recipes of both kinds are."""
    parts = []
    for workload, part in frame.groupby("workload", sort=False):
        best = front(_means(part))
        each = ", ".join(f"{row.recipe} ({row.accuracy:.3f}, {row.spearman:.2f})" for row in best.itertuples())
        parts.append(f"{workload}: {each}")
    return f"The recipes that no other beats in both accuracy and attributability, on {'; '.join(parts)}."


EXPERIMENT = Experiment(
    name="recipes",
    title="Accuracy and attributability",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
    answer=answer,
)
