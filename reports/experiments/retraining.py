"""How fast exact leave-one-out is, by each engine: beside the plain loop and the machine's rate of matrix products."""

from collections.abc import Iterable

import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.retraining_speed import CASES, PRODUCT, REPEATS, retraining_speed
from reports.curves import describe
from reports.experiment import Experiment
from reports.intervals import bracket, summarise
from reports.load import disturbed, starred
from reports.panels import legend, row_of_panels
from reports.scales import plain_ticks
from reports.style import figure_style

COLOURS = {"compiled": "#0173b2", "stacked": "#029e73", "batched": "#de8f05", "loop": "0.45"}


def draw(frame: pd.DataFrame) -> Figure:
    """Times faster than the plain loop, and share of the machine's rate, by workload and engine."""
    frame = frame.assign(share=frame["gflops"] / frame["machine_gflops"])
    names = list(reversed(list(dict.fromkeys(frame["workload"]))))
    kinds = [kind for kind in COLOURS if kind in set(frame["engine"])]
    panels = {"times_plain": "times faster than the plain loop", "share": "share of the machine's matrix rate"}
    with figure_style():
        figure, axes = row_of_panels(len(panels), 0.3 + 0.4 * len(names))
        for axis, (column, label) in zip(axes, panels.items(), strict=True):
            axis.set_xscale("log" if column == "times_plain" else "linear")
            start = 1 if column == "times_plain" else 0  # how far from the plain loop, and how much of the rate
            for i, kind in enumerate(kinds):
                means = frame[frame["engine"] == kind].groupby("workload")[column].mean()
                rows = [(row + 0.3 - 0.2 * i, means[name] - start) for row, name in enumerate(names) if name in means]
                heights, values = zip(*rows, strict=True)
                axis.barh(heights, values, left=start, height=0.18, color=COLOURS[kind], label=kind)
            axis.axvline(1, color="0.3", linewidth=0.8)
            axis.set_yticks(range(len(names)), names)
            axis.set(xlabel=label)
        plain_ticks(axes[0].xaxis)
        legend(figure, axes[:1])
    return figure


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a workload and engine."""
    frame = frame.assign(share=frame["gflops"] / frame["machine_gflops"], milliseconds=1000 * frame["seconds"])
    values = ["times_plain", "share", "gflops", "milliseconds", "together", "least", "greatest"]
    means = summarise(frame, ["workload", "engine"], values)
    rows = means[["times_plain", "least", "greatest"]].to_numpy()

    def written(cells: Iterable[str]) -> list[str]:
        return [starred(cell, flag) for cell, flag in zip(cells, means["disturbed"], strict=True)]

    return pd.DataFrame(
        {
            "Workload": means["workload"],
            "Engine": means["engine"],
            "Together": means["together"].map("{:.0f}".format),
            "A retraining (ms)": written(means["milliseconds"].map("{:.3g}".format)),
            "Times faster than the loop": written(bracket(row, 1) for row in rows),
            "GFLOP/s": written(means["gflops"].map("{:.0f}".format)),
            "Share of the machine's rate": written(means["share"].map("{:.2f}".format)),
        }
    )


def caption(frame: pd.DataFrame) -> str:
    """What is timed beside what, and what the machine's rate is."""
    rate = frame["machine_gflops"].median()
    return (
        f"Same-run retraining without single points ({describe(frame)}), by each engine, beside one plain training "
        "after another (autograd and foreach updates, all cores). Median [least, greatest] of the ratios of "
        f"{REPEATS} alternating calls in one process, means over seeds; planning and compilation not counted. "
        "GFLOP/s: the matrix products and convolutions of the two gradients of each step, as torch counts them; the "
        f"machine's rate: `torch.mm` of {PRODUCT} x {PRODUCT} matrices, {rate:.0f} GFLOP/s at the median. Above 1 the "
        "engine's products run on a faster library than `torch.mm`'s."
    )


def answer(frame: pd.DataFrame) -> str:
    """What the fastest engine of each workload gains."""
    parts = []
    for workload, part in frame.groupby("workload", sort=False):
        means = part.groupby("engine")["times_plain"].mean()
        best = part[part["engine"] == means.idxmax()]
        parts.append(starred(f"{means.max():.1f}", disturbed(best)) + f" on {workload} ({means.idxmax()})")
    return f"Times that exact leave-one-out is faster than one plain training after another: {', '.join(parts)}."


EXPERIMENT = Experiment(
    name="retraining",
    title="Speed of exact leave-one-out",
    measure=retraining_speed,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
    answer=answer,
    timed=True,
)
