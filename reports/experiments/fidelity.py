"""Every method against exact retraining: of single points and of subsets, on networks of four kinds."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from baselines.fidelity import fidelity
from reports.curves import bracket, describe, legend, summarise
from reports.experiment import Case, Experiment, over
from reports.results import ORDER
from reports.style import PAGE_INCHES, figure_style, look
from samattr_ref.workload import Workload

FRACTIONS = (0.01, 0.1)
SUBSETS = 50
LARGE = {"curvature": "gauss-newton", "damping": 0.1, "solver": "neumann", "order": 10}
"""Options of the implicit methods where a network is too large to choose them: a short series, the same for all."""

HESSIAN = ("sam-hif-implicit", "sam-if", "sam-hif", "sam-hif-fast", "if")
CNN = {"n_train": 1000, "n_query": 20, "channels": (8, 16), "steps": 200, "schedule": "cosine", "n_removed": 100}
SMALL = (Case("digits-logreg"), Case("digits-mlp"))
IMAGES = (Case("mnist-mlp", {"n_query": 20}), Case("cifar10-cnn", CNN))


def measure(
    workload: Workload,
    method: str,
    fractions: Sequence[float],
    subsets: int,
    options: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """One method against leave-one-out and against subset retraining."""
    given = None if options is None else {method: options}
    return fidelity(workload, [method], fractions, subsets, given)


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman and LDS a method, a panel a workload."""
    panels = list(dict.fromkeys(frame["workload"]))
    scores = scores_of(frame)
    names = [name for name in reversed(ORDER) if name in set(frame["method"])]
    shifts = np.linspace(0.3, -0.3, len(scores))
    with figure_style():
        figure, axes = plt.subplots(
            1, len(panels), figsize=(PAGE_INCHES, 3.2), sharey=True, squeeze=False, layout="constrained"
        )
        for axis, panel in zip(axes[0], panels, strict=True):
            means = summarise(frame[frame["workload"] == panel], ["method"], list(scores)).set_index("method")
            for shift, (score, label), marker in zip(shifts, scores.items(), "os^DvP", strict=False):
                for row, name in enumerate(names):
                    if name in means.index and np.isfinite(means.loc[name, score]):
                        colour, y = look(name).colour, row + shift
                        interval = means.loc[name, [f"{score}_low", f"{score}_high"]]
                        axis.plot(interval, [y, y], color=colour, linewidth=0.9)
                        axis.plot(means.loc[name, score], y, marker, color=colour, markersize=3.5)
                axis.plot([], [], marker, color="0.3", markersize=3.5, linestyle="", label=label)
            axis.set_yticks(np.arange(len(names)), [look(name).label for name in names])
            axis.axvline(1, color="black", linewidth=0.8)
            axis.set(title=panel, xlabel="rank correlation", xlim=(-0.15, 1.04))
        legend(figure, axes[0, :1], "outside lower center", 3)
    return figure


def scores_of(frame: pd.DataFrame) -> dict[str, str]:
    """The columns that are rank correlations, and what they are called."""
    shares = [column for column in frame if str(column).startswith("lds_")]
    return {"spearman": "LOO"} | {str(c): f"LDS, {float(str(c)[4:]):.0%} removed" for c in shares}


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Spearman and Pearson with LOO, and LDS, of each method and workload."""
    columns = {"spearman": "Spearman, LOO", "pearson": "Pearson, LOO"}
    columns |= {name: label for name, label in scores_of(frame).items() if name != "spearman"}
    means = summarise(frame, ["workload", "method"], list(columns))
    places = {name: place for place, name in enumerate((*dict.fromkeys(means["workload"]), *ORDER))}
    means = means.sort_values(["workload", "method"], key=lambda names: names.map(places))
    shown = pd.DataFrame({"Workload": means["workload"], "Method": [look(name).label for name in means["method"]]})
    for name, heading in columns.items():
        shown[heading] = [bracket(*row) for row in means[[name, f"{name}_low", f"{name}_high"]].to_numpy()]
    return shown.reset_index(drop=True)


def caption(frame: pd.DataFrame) -> str:
    """What is shown."""
    large, cnn = (", ".join(f"{name} {value}" for name, value in settings.items()) for settings in (LARGE, CNN))
    return (
        f"Per-query Spearman with exact leave-one-out, and linear datamodelling score (LDS) over {SUBSETS} random "
        f"subsets a share, both means over queries ({describe(frame)}); 95 % t-intervals over seeds. The line at 1 is "
        f"exact retraining. cifar10-cnn here: {cnn}. On the image workloads the implicit methods take {large}: "
        "choosing would take hours."
    )


def answer(frame: pd.DataFrame) -> str:
    """How the exact derivative of the run compares with the best of the others."""
    parts = []
    for workload, part in frame.groupby("workload", sort=False):
        means = part.groupby("method")["spearman"].mean()
        others = means.drop("sam-unrolled", errors="ignore")
        if "sam-unrolled" in means and len(others):
            best = look(str(others.idxmax())).label
            parts.append(f"{means['sam-unrolled']:.3f} on {workload} (next {best}, {others.max():.3f})")
    return f"Per-query Spearman of the exact derivative with leave-one-out: {'; '.join(parts)}."


def _cases(cases: Sequence[Case], methods: Sequence[str], options: Mapping[str, Any] | None) -> list[Case]:
    arguments = {"fractions": FRACTIONS, "subsets": SUBSETS, **({} if options is None else {"options": dict(options)})}
    return over([Case(case.workload, case.settings, arguments) for case in cases], "method", methods)


OTHERS = [name for name in ORDER if name not in HESSIAN]

EXPERIMENT = Experiment(
    name="fidelity",
    title="Against exact retraining",
    measure=measure,
    cases={"beyond": [*_cases(SMALL, ORDER, None), *_cases(IMAGES, OTHERS, None), *_cases(IMAGES, HESSIAN, LARGE)]},
    draw=draw,
    caption=caption,
    tabulate=tabulate,
    answer=answer,
)
