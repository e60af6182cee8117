"""Every method against exact retraining: of single points and of subsets, on networks of four kinds."""

import pandas as pd
from matplotlib.figure import Figure

from baselines.comparison import CORRELATION
from baselines.studies.cases import LARGE
from baselines.studies.loo_and_lds import CASES, CNN, SMALL, SUBSETS, measure
from reports.curves import describe
from reports.dots import Mark, draw_dots
from reports.experiment import Experiment
from reports.intervals import brackets, summarise
from reports.labels import label_of, labels
from reports.style import style_of
from samattr_ref.registry import Family, methods

MARKERS = "os^DvP"


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman and LDS a method, a panel a workload."""
    scores = scores_of(frame)
    rows = [style_of(name) for name in methods(optional=True) if name in set(frame["method"])]
    dots = frame.assign(row=labels(frame)).melt(["workload", "seed", "row"], list(scores), var_name="series")
    marks = {name: Mark(label, marker) for (name, label), marker in zip(scores.items(), MARKERS, strict=False)}
    return draw_dots(dots, rows, marks, "rank correlation", 1, CORRELATION)


def scores_of(frame: pd.DataFrame) -> dict[str, str]:
    """The columns that are rank correlations, and what they are called."""
    shares = [column for column in frame if str(column).startswith("lds_")]
    return {"spearman": "LOO"} | {str(c): f"LDS, {float(str(c)[4:]):.0%} removed" for c in shares}


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Spearman and Pearson with LOO, and LDS, of each method and workload."""
    columns = {"spearman": "Spearman, LOO", "pearson": "Pearson, LOO"}
    columns |= {name: label for name, label in scores_of(frame).items() if name != "spearman"}
    means = summarise(frame, ["workload", "method"], list(columns))
    places = {name: place for place, name in enumerate((*dict.fromkeys(means["workload"]), *methods(optional=True)))}
    means = means.sort_values(["workload", "method"], key=lambda names: names.map(places))
    shown = pd.DataFrame({"Workload": means["workload"], "Method": labels(means)})
    return shown.assign(**brackets(means, columns)).reset_index(drop=True)


def caption(frame: pd.DataFrame) -> str:
    """What is correlated, and the options where none could be chosen."""
    large, cnn = (", ".join(f"{name} {value}" for name, value in settings.items()) for settings in (LARGE, CNN))
    workloads = set(frame["workload"])
    small = f" cifar10-cnn here: {cnn}." if "cifar10-cnn" in workloads else ""
    implicit = {name for name, method in methods(optional=True).items() if method.family is Family.IMPLICIT}
    solved = set(frame.loc[frame["method"].isin(implicit), "workload"])
    given = solved - {case.workload for case in SMALL}
    series = f" On {', '.join(sorted(given))} the implicit methods take {large}: choosing would take hours."
    return (
        f"Per-query Spearman with exact leave-one-out, and linear datamodelling score (LDS) over {SUBSETS} random "
        f"subsets a share, both means over queries ({describe(frame)}); 95 % t-intervals over seeds. The line at 1 is "
        f"exact retraining.{small}{series if given else ''}"
    )


def answer(frame: pd.DataFrame) -> str:
    """How the exact derivative of the run compares with the best of the others."""
    parts = []
    for workload, part in frame.groupby("workload", sort=False):
        means = part.groupby("method")["spearman"].mean()
        others = means.drop("sam-unrolled", errors="ignore")
        if "sam-unrolled" in means and len(others):
            best = label_of(str(others.idxmax()))
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
