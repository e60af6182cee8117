"""A run from step to step, and the influence of single points over training time."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.steps_of_a_run import ADJOINT, CASES, STATE, TERM, measure
from reports.curves import describe, plain_ticks
from reports.experiment import Experiment
from reports.style import PAGE_INCHES, figure_style

PANELS = {"loss": "training loss (nats)", "grad_norm": "‖g‖", "adjoint": "growth of the adjoint"}
COLOURS = ("#0173B2", "#029E73", "#CC78BC", "#56B4E9", "#D55E00", "#DE8F05", "#CA9161", "#949494")


def draw(frame: pd.DataFrame) -> Figure:
    """A row a workload: loss, gradient norm, adjoint, and the running sums of some points' terms."""
    workloads = list(dict.fromkeys(frame["workload"]))
    with figure_style():
        figure, axes = plt.subplots(
            len(workloads), 4, figsize=(PAGE_INCHES, 0.4 + 1.6 * len(workloads)), squeeze=False, layout="constrained"
        )
        for line, workload in zip(axes, workloads, strict=True):
            part = frame[frame["workload"] == workload]
            for axis, (name, label) in zip(line, PANELS.items(), strict=False):
                own = part[part["part"] == (ADJOINT if name == "adjoint" else STATE)]
                axis.plot(own["step"], own[name], color="black", linewidth=0.9)
                axis.set(yscale="log", ylabel=label)
                plain_ticks(axis.yaxis)
            line[0].set_title(workload, loc="left")
            for colour, (score, own) in zip(COLOURS, sums(part), strict=False):
                wrong = ", wrong label" if own["wrong"].iloc[0] else ""
                label = f"point {own['point'].iloc[0]:.0f}, a {own['given'].iloc[0]:.0f}{wrong}: {score:+.2g}"
                line[3].step(own["step"], own["sum"], where="post", color=colour, linewidth=0.9, label=label)
            line[3].set_ylabel("influence so far (nats)")
            line[3].legend(fontsize=5.5, frameon=False, loc="upper left", bbox_to_anchor=(1, 1), handlelength=1)
        for axis in axes[-1]:
            axis.set_xlabel("step")
    return figure


def sums(part: pd.DataFrame) -> list[tuple[float, pd.DataFrame]]:
    """The terms of each followed point of one workload with their running `sum`, the highest score first."""
    terms = part[part["part"] == TERM].sort_values("step")
    terms = terms.assign(sum=terms.groupby("point")["value"].cumsum())
    found = [(float(own["score"].iloc[0]), own) for _, own in terms.groupby("point", sort=False)]
    return sorted(found, key=lambda pair: -pair[0])


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """How each run ended, how far its adjoint grew, and when influence was gained."""
    rows = []
    for workload, part in frame.groupby("workload", sort=False):
        last = part[part["part"] == STATE].iloc[-1]
        growth = part[part["part"] == ADJOINT].sort_values("step")["adjoint"]
        terms = part[part["part"] == TERM]
        size, late = terms["value"].abs(), terms["step"] >= part["step"].max() / 2
        rows.append(
            {
                "Workload": str(workload),
                "Steps": f"{part['step'].max() + 1:.0f}",
                "Training loss": f"{last['loss']:.3f}",
                "‖g‖": f"{last['grad_norm']:.2g}",
                "ρ/‖g‖": f"{last['rho_over_grad_norm']:.2g}",
                "Growth, whole run": f"{growth.iloc[0]:.2g}",
                "Growth, largest": f"{growth.max():.2g}",
                "Influence from the second half (%)": f"{100 * size[late].sum() / size.sum():.0f}",
            }
        )
    return pd.DataFrame(rows)


def caption(frame: pd.DataFrame) -> str:
    """What is followed, and what growth is."""
    return (
        "The first seed's run from step to step: mean training loss, norm of the full gradient, and ‖dℓ/dω_t‖ over "
        "that at the end, for the mean validation point: far above 1 the run is chaotic. Right: the influence of some "
        "points on the mean validation loss, as the running sum of the terms that the exact derivative is made of; "
        f"what a step adds is what remained of it in the end ({describe(frame)}). Table: of the followed points."
    )


EXPERIMENT = Experiment(
    name="along-the-run",
    title="Along the run",
    measure=measure,
    cases=CASES,
    draw=draw,
    tabulate=tabulate,
    caption=caption,
    seeds=1,
)
