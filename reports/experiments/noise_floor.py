"""The noise floor: what the effect of a point in one run says about its effect in another run of the same training."""

import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.across_runs import CASES, RUNS, measure
from reports.curves import describe, legend
from reports.experiment import Experiment
from reports.intervals import brackets, summarise, triple
from reports.labels import label_of
from reports.style import figure_style, row_of_panels, style_of

KINDS = {"same run": "the same run", "other run": "another run", "other runs": "the mean of the other runs"}
SHADES = {"same run": 1.0, "other runs": 0.55, "other run": 0.25}


def draw(frame: pd.DataFrame) -> Figure:
    """A bar a method and kind, a panel a workload."""
    panels = list(dict.fromkeys(frame["workload"]))
    names = list(dict.fromkeys(frame["method"]))
    with figure_style():
        figure, axes = row_of_panels(len(panels), 2.2)
        for axis, panel in zip(axes, panels, strict=True):
            means = summarise(frame[frame["workload"] == panel], ["method", "kind"], ["spearman"])
            means = means.set_index(["method", "kind"])
            for offset, (kind, label) in enumerate(KINDS.items()):
                for column, name in enumerate(names):
                    value, low, high = means.loc[(name, kind), triple("spearman")]
                    x = column + 0.27 * (offset - 1)
                    named = f"held against {label}" if column == 0 else None
                    axis.bar(x, value, 0.25, color=style_of("sam-if").colour, alpha=SHADES[kind], label=named)
                    axis.plot([x, x], [low, min(high, 1)], color="black", linewidth=1)
            axis.set_xticks(range(len(names)), [label_of(name) for name in names])
            axis.set(title=panel, xlabel="effects of")
        axes[0].set(ylabel="per-query Spearman", ylim=(0, 1.05))
        legend(figure, axes[:1], "outside lower center", 3)
    return figure


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Spearman of each kind."""
    means = summarise(frame, ["workload", "method", "kind"], ["spearman"])
    cells = means.assign(**brackets(means, {"spearman": "cell"}))
    shown = cells.pivot(index=["workload", "method"], columns="kind", values="cell").reset_index()
    shown["method"] = [label_of(name) for name in shown["method"]]
    headings = {"workload": "Workload", "method": "Effects of"}
    return shown.rename(columns=headings | {kind: f"against {label}" for kind, label in KINDS.items()})


def caption(frame: pd.DataFrame) -> str:
    """Which runs are held against which truth."""
    return (
        f"The same points trained {RUNS} times with other initial parameters and batches ({describe(frame)}): exact "
        "leave-one-out effects, and the exact derivative's, of each run held against the truth of the same run, of "
        "another, and of the mean of the others. 95 % t-intervals over seeds of the data. A claim about the effect of "
        "a point beyond one run is worth no more than the lower bars."
    )


def answer(frame: pd.DataFrame) -> str:
    """What one run's truth says about another's."""
    means = frame[frame["method"] == "loo"].groupby(["workload", "kind"], sort=False)["spearman"].mean()
    parts = [
        f"{means[workload, 'other run']:.2f} on {workload} ({means[workload, 'other runs']:.2f} with the others' mean)"
        for workload in dict.fromkeys(frame["workload"])
    ]
    return f"Exact effects of one run agree with those of another by a per-query Spearman of {', '.join(parts)}."


EXPERIMENT = Experiment(
    name="noise-floor",
    title="The noise floor of leave-one-out",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
    answer=answer,
)
