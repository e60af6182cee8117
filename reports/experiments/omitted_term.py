"""Question 2: what SAM-GIF leaves out, switched on one at a time; and a bound on its Hessian terms."""

import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.gif_errors import CASES, CHECKPOINTS, STAGES, measure
from reports.curves import describe, draw_line
from reports.experiment import Experiment
from reports.intervals import brackets, summarise, triple
from reports.panels import grid, legend, name_row
from reports.scales import plain_ticks, scale_x, scale_y
from reports.style import Style, figure_style, style_of
from reports.verdicts import HOLDS, UNDECIDED, decide

LINES = {
    "omitted": Style("omitted Hessian terms", style_of("sam-unrolled").colour, "o", "-"),
    "bound": Style("their bound", "black", "s", "--"),
}


def draw(frame: pd.DataFrame) -> Figure:
    """Left, the stages of the error; right, the omitted terms and their bound over the last τ steps."""
    panels = list(dict.fromkeys(frame["workload"]))
    with figure_style():
        figure, axes = grid(len(panels), 2, 1.55, sharex="col", sharey="col")
        for row, panel in zip(axes, panels, strict=True):
            part, (left, right) = frame[frame["workload"] == panel], row
            means = summarise(part[part["stage"].notna()], ["stage"], ["change"]).set_index("stage")
            for height, stage in enumerate(reversed(STAGES)):
                value, low, high = means.loc[stage, triple("change")]
                left.plot([low, high], [height, height], color="black", linewidth=0.9)
                left.plot(value, height, "o", color="black", markersize=4)
            left.set(xscale="log", ylim=(-0.5, len(STAGES) - 0.5))
            left.set_yticks(range(len(STAGES)), list(reversed(STAGES)))
            bounds = part[part["last"].notna()]
            scale_x(right, "log", bounds["last"])
            for name, shown in LINES.items():
                draw_line(right, bounds, "last", name, shown)
            right.axhline(1, color="0.5", linewidth=0.8, linestyle="--", label="SAM-GIF's own size")
            right.set_ylabel("size over\nthat of SAM-GIF")
            name_row(row, panel)
        plain_ticks(axes[-1, 0].xaxis)
        scale_y(axes[:, 1], "log")
        axes[0, 0].set_title("what each stage changes")
        axes[0, 1].set_title("the terms that SAM-GIF leaves out")
        axes[-1, 0].set_xlabel("change of the scores / ‖truth‖")
        axes[-1, 1].set_xlabel("last steps τ")
        legend(figure, axes[0, 1:])
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
        "the last τ steps and the bound on them in Σ η‖A‖; above the dashed line the bound says nothing. "
        "Bars: 95 % t-intervals over seeds."
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
