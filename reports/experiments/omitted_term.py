"""Question 2: what SAM-GIF leaves out, switched on one at a time; and a bound on its Hessian terms."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.gif_errors import CASES, CHECKPOINTS, STAGES, measure
from reports.curves import describe, draw_line, legend
from reports.experiment import Experiment
from reports.intervals import brackets, summarise, triple
from reports.style import PAGE_INCHES, Style, figure_style, style_of
from reports.verdicts import HOLDS, UNDECIDED, decide

STAGE_COLOURS = dict(zip(STAGES, ("sam-gif", "sam-hif", "sam-unrolled"), strict=True))


def draw(frame: pd.DataFrame) -> Figure:
    """Left, the stages of the error; right, the omitted terms and their bound over the last τ steps."""
    panels = list(dict.fromkeys(frame["workload"]))
    with figure_style():
        figure, axes = plt.subplots(
            len(panels), 2, figsize=(PAGE_INCHES, 0.5 + 1.9 * len(panels)), squeeze=False, layout="constrained"
        )
        for (left, right), panel in zip(axes, panels, strict=True):
            part = frame[frame["workload"] == panel]
            means = summarise(part[part["stage"].notna()], ["stage"], ["change"]).set_index("stage")
            for row, stage in enumerate(reversed(STAGES)):
                value, low, high = means.loc[stage, triple("change")]
                left.barh(row, value, color=style_of(STAGE_COLOURS[stage]).colour, height=0.6)
                left.plot([max(low, 0), high], [row, row], color="black", linewidth=1)
            left.set_yticks(range(len(STAGES)), list(reversed(STAGES)))
            left.set(title=panel, xlabel="change of the scores / ‖truth‖")
            bounds = summarise(part[part["last"].notna()], ["last"], ["omitted", "bound"]).sort_values("last")
            for name, label, colour in (
                ("omitted", "omitted Hessian terms", style_of("sam-unrolled").colour),
                ("bound", "their bound", "black"),
            ):
                shown = Style(label, colour, "o", "-")
                draw_line(right, bounds, "last", name, shown, least=bounds[name] / 10, linewidth=1.5)
            right.axhline(1, color="0.5", linewidth=0.8, linestyle="--", label="SAM-GIF's own size")
            top = max(10.0, 3 * float(bounds["omitted"].max()))
            right.set(xscale="log", yscale="log", title=panel, xlabel="last steps τ", ylim=(None, top))
            right.set_ylabel("over ‖SAM-GIF of the last τ‖")
        legend(figure, axes[0, 1:], "outside lower center", 3)
    return figure


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """What each stage changes, and what error and ranks are after it."""
    means = summarise(frame[frame["stage"].notna()], ["workload", "stage"], ["change", "after", "spearman"])
    shown = pd.DataFrame({"Workload": means["workload"], "Switched on": means["stage"]})
    headings = {"change": "Change / ‖truth‖", "after": "Error after", "spearman": "Spearman after"}
    return shown.assign(**brackets(means, headings))


def caption(frame: pd.DataFrame) -> str:
    """What each stage switches on, and when the bound says nothing."""
    return (
        f"Left and table: from SAM-GIF of {CHECKPOINTS} checkpoints to SAM-GIF of every step (checkpoint sparsity), to "
        "the exact derivative (Hessian terms), to exact leave-one-out (non-linearity): how far the scores of all "
        f"points and queries move, over the size of the true effects ({describe(frame)}). Right: the Hessian terms of "
        "the last τ steps and the bound on them in Σ η‖A‖; above the dashed line the bound says nothing. Bands and "
        "bars: 95 % t-intervals over seeds."
    )


def answer(frame: pd.DataFrame) -> str:
    """Which part of the error is which, and how far the bound says something."""
    parts = []
    for workload, part in frame.groupby("workload", sort=False):
        change = part.groupby("stage")["change"].mean()
        share = change["Hessian terms"] / change[list(STAGES)].sum()
        parts.append(f"on {workload} they are {share:.0%} of what is missing, and the bound {_reach(part)}")
    return f"The omitted Hessian terms: {'; '.join(parts)}."


def _reach(part: pd.DataFrame) -> str:
    """For how many of the last steps the bound is below SAM-GIF's own size, as its intervals decide."""
    bounds = summarise(part[part["last"].notna()], ["last"], ["bound"])
    found = [(int(row["last"]), decide(tuple(row[triple("bound")]), below=1)) for _, row in bounds.iterrows()]
    steps = {word: [last for last, own in found if own == word] for word in (HOLDS, UNDECIDED)}
    if steps[HOLDS]:
        return f"says something for the last {max(steps[HOLDS])} steps at most"
    if steps[UNDECIDED]:
        most = max(steps[UNDECIDED])
        return f"is undecided up to the last {most} steps, where its intervals hold 1, and says nothing of more"
    return "says nothing, however few steps"


EXPERIMENT = Experiment(
    name="omitted-term",
    title="Question 2: the omitted term",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
    answer=answer,
)
