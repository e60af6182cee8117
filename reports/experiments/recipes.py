"""Accuracy against attributability: the front of recipes that a user chooses from."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.attributable_recipes import CASES, FRACTION, SUBSETS, measure
from reports.curves import describe, legend
from reports.experiment import Experiment
from reports.intervals import brackets, summarise
from reports.style import PAGE_INCHES, figure_style, style_of

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
        figure, axes = plt.subplots(
            1, len(panels), figsize=(PAGE_INCHES, 3.6), squeeze=False, layout="constrained", sharey=True
        )
        for axis, panel in zip(axes[0], panels, strict=True):
            means = _means(frame[frame["workload"] == panel])
            best = front(means)
            axis.plot(means["accuracy"], means["spearman"], "o", color=colour, fillstyle="none", markersize=4)
            axis.plot(best["accuracy"], best["spearman"], "o-", color=colour, linewidth=0.8, markersize=4)
            for row in means.itertuples():
                at = (row.accuracy, row.spearman)
                axis.annotate(str(numbers[row.recipe]), at, (3, 3), textcoords="offset points", fontsize=6)
            axis.set(title=panel, xlabel="validation accuracy")
        axes[0, 0].set_ylabel("Spearman of predicted with exact effects")
        for name, number in numbers.items():
            axes[0, 0].plot([], [], " ", label=f"{number}  {name}")
        legend(figure, axes[0, :1])
    return figure


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
    places = {name: place for place, name in enumerate(dict.fromkeys(frame["recipe"]))}
    means = means.sort_values("recipe", key=lambda names: names.map(places), kind="stable")
    table = pd.DataFrame({"Workload": means["workload"], "Recipe": means["recipe"]})
    return table.assign(**brackets(means, HEADINGS)).reset_index(drop=True)


def caption(frame: pd.DataFrame) -> str:
    """What is predicted."""
    return (
        f"Recipes that differ in one thing from the one that is registered ({describe(frame)}): accuracy, and how well "
        f"the exact derivative of the run predicts retraining without {FRACTION:.0%} of the points, as Spearman over "
        f"the effects on all validation points and by the change of the parameters, means over {SUBSETS} random "
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
