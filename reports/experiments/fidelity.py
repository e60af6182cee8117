"""Every method against exact retraining: of single points and of subsets, on networks of four kinds."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.loo_and_lds import CASES, CNN, LARGE, SUBSETS, measure
from reports.curves import bracket, describe, legend, summarise
from reports.experiment import Experiment
from reports.style import PAGE_INCHES, figure_style, labels, look
from samattr_ref.registry import methods


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman and LDS a method, a panel a workload."""
    panels = list(dict.fromkeys(frame["workload"]))
    scores = scores_of(frame)
    names = [name for name in reversed(methods()) if name in set(frame["method"])]
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
    places = {name: place for place, name in enumerate((*dict.fromkeys(means["workload"]), *methods()))}
    means = means.sort_values(["workload", "method"], key=lambda names: names.map(places))
    shown = pd.DataFrame({"Workload": means["workload"], "Method": labels(means)})
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


EXPERIMENT = Experiment(
    name="fidelity",
    title="Against exact retraining",
    measure=measure,
    cases=CASES,
    draw=draw,
    caption=caption,
    tabulate=tabulate,
    answer=answer,
)
