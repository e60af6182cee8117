"""A run from step to step, and the influence of single points over training time."""

from collections.abc import Hashable, Mapping
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.steps_of_a_run import ADJOINT, CASES, STATE, TERM, measure
from reports.classes import class_name
from reports.curves import describe
from reports.experiment import Experiment
from reports.labels import signed
from reports.scales import scale_y
from reports.style import PAGE_INCHES, figure_style

PANELS = {"loss": "training loss\n(nats)", "grad_norm": "‖g‖", "adjoint": "growth of\nthe adjoint"}
SCALES = {"loss": "linear", "grad_norm": "log", "adjoint": "log"}
COLOURS = ("#0173B2", "#029E73", "#CC78BC", "#56B4E9", "#D55E00", "#DE8F05", "#CA9161", "#949494")
MARKERS = "os^DvP<X"


def draw(frame: pd.DataFrame) -> Figure:
    """A row a workload: loss, gradient norm, adjoint, and the running sums of some points' terms, named below."""
    workloads = list(dict.fromkeys(frame["workload"]))
    with figure_style():
        figure = plt.figure(figsize=(PAGE_INCHES, 2.3 * len(workloads)), layout="constrained")
        blocks = figure.subfigures(len(workloads), 1, squeeze=False)[:, 0]
        for block, workload in zip(blocks, workloads, strict=True):
            part = frame[frame["workload"] == workload]
            axes = block.subplots(1, 4)
            for axis, (name, label) in zip(axes, PANELS.items(), strict=False):
                own = part[part["part"] == (ADJOINT if name == "adjoint" else STATE)]
                axis.plot(own["step"], own[name], color="black", linewidth=0.9)
                scale_y([axis], SCALES[name])
                axis.set_ylabel(label)
            for colour, marker, (score, own) in zip(COLOURS, MARKERS, sums(part), strict=False):
                look = {"color": colour, "linewidth": 0.9, "label": called(workload, own.iloc[0], score)}
                look |= {"marker": marker, "markersize": 3, "markevery": [-1], "drawstyle": "steps-post"}
                axes[3].plot(own["step"], own["sum"], linestyle="--" if wrong(own.iloc[0]) else "-", **look)
            axes[3].set_ylabel("influence\nso far (nats)")
            axes[3].ticklabel_format(axis="y", scilimits=(-2, 2), useMathText=True)
            for axis in axes:
                axis.set_xlabel("step")
            block.suptitle(workload)
            block.legend(*axes[3].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def called(workload: str, row: pd.Series, score: float) -> str:
    """What a followed point is called: its place, its label and its influence in the end."""
    label = class_name(workload, int(row["given"])) + (", wrong label" if wrong(row) else "")
    return f"point {row['point']:.0f} ({label}): {signed(score)}"


def wrong(row: Mapping[Hashable, Any] | pd.Series) -> bool:
    """Whether a point has a wrong label, as the study or a CSV file says it."""
    return str(row["wrong"]) in ("True", "1.0")


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
