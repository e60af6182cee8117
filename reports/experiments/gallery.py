"""A query and the training points that each method calls most helpful and most harmful to it, as pictures or words."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from baselines.studies.helpful_and_harmful import CASES, PAIR, POINT, QUERIES, QUERY, SHOWN, measure
from baselines.validation import GROUND_TRUTH
from reports.classes import class_name
from reports.curves import describe
from reports.experiment import Experiment
from reports.experiments.along_the_run import wrong
from reports.experiments.harmful import pixels, said
from reports.labels import label_of, signed
from reports.style import PAGE_INCHES, SMALLEST, figure_style

DRAWN = (GROUND_TRUTH, "sam-unrolled", "sam-if", "sam-gif")
"""Methods of the printed figure; the page to be explored has all of them."""

WRONG = "#D55E00"


def draw(frame: pd.DataFrame) -> Figure:
    """The first query of each workload of pictures, and three points at either end by some methods."""
    pictured = [name for name, part in frame.groupby("workload", sort=False) if part["image"].notna().any()]
    each = SHOWN // 2
    with figure_style():
        height = 0.1 + len(pictured) * (0.3 + 0.9 * len(DRAWN))
        figure = plt.figure(figsize=(PAGE_INCHES, height if pictured else 0.6), layout="constrained")
        if not pictured:
            figure.text(0.5, 0.5, "no pictures: see the table", ha="center", va="center")
            return figure
        for workload, block in zip(pictured, figure.subfigures(len(pictured), 1, squeeze=False)[:, 0], strict=True):
            part = frame[frame["workload"] == workload]
            block.suptitle(f"{workload}: the first query, its {each} most helpful points, and its {each} most harmful")
            shown = [name for name in DRAWN if name in set(part["method"].dropna())]
            grid = block.subplots(len(shown), 1 + 2 * each, squeeze=False)
            for axis in grid.flat:
                axis.set_axis_off()
            query = part[(part["part"] == QUERY) & (part["index"] == 0)].iloc[0]
            _picture(grid[0, 0], query, f"query:\n{class_name(workload, int(query['given']))}")
            points = part[part["part"] == POINT].set_index("index")
            for row, method in zip(grid, shown, strict=True):
                ends = part[(part["part"] == PAIR) & (part["method"] == method) & (part["query"] == 0)]
                ends = ends.set_index("rank")
                for axis, rank in zip(row[1:], [*range(1, each + 1), *range(-each, 0)], strict=True):
                    if rank in ends.index:
                        point = points.loc[ends.loc[rank, "point"]]
                        label = said(workload, point["given"], point["clean"])
                        title = f"{label}\n{signed(ends.loc[rank, 'score'])}"
                        _picture(axis, point, title, WRONG if wrong(point) else "black")
                row[1].set_ylabel(label_of(method))
    return figure


def _picture(axis: Axes, row: pd.Series, title: str, colour: str = "black") -> None:
    axis.set_axis_on()
    axis.imshow(pixels(row["image"]), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    axis.set_title(title, fontsize=SMALLEST, color=colour, pad=2, linespacing=1.0)
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(visible=True, color=colour, linewidth=0.5 if colour == "black" else 1.5)


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """How many of the points at either end are those that exact leave-one-out names, and have a wrong label."""
    rows = []
    for workload, part in frame.groupby("workload", sort=False):
        points = part[part["part"] == POINT].set_index("index")
        pairs = part[(part["part"] == PAIR) & (part["rank"] != 0)]
        pairs = pairs.assign(end=np.sign(pairs["rank"]), wrong=pairs["point"].map(points["wrong"]).astype(float))
        exact = pairs[pairs["method"] == GROUND_TRUTH].groupby(["query", "end"])["point"].agg(set)
        for method, own in pairs.groupby("method", sort=False):
            named = own.groupby(["query", "end"])["point"].agg(set)
            known = own["exact"].notna().all()  # of points that were not removed, nobody knows
            common = {
                end: f"{np.mean([len(points & exact[key]) for key, points in named.items() if key[1] == end]):.1f}"
                for end in (1, -1)
            }
            rows.append(
                {
                    "Workload": workload,
                    "Method": label_of(str(method)),
                    f"Of the {SHOWN} most helpful, exact": common[1] if known else "–",
                    f"Of the {SHOWN} most harmful, exact": common[-1] if known else "–",
                    "Harmful with a wrong label (%)": f"{100 * own[own['end'] == -1]['wrong'].mean():.0f}",
                }
            )
    return pd.DataFrame(rows)


def caption(frame: pd.DataFrame) -> str:
    """What is shown, of which run, and what the colours mean."""
    return (
        "The training points that each method calls most helpful and most harmful to a query, of the first seed: above "
        "each its label, in brackets the right one where it is another (orange), and its predicted effect in nats, for "
        "exact LOO the effect itself "
        f"({describe(frame)}). Table: means over the first {QUERIES} queries. Exact LOO ranks the points that were "
        "removed alone: where a method names others, which nobody removed, there is a dash."
    )


EXPERIMENT = Experiment(
    name="gallery",
    title="What helped and what harmed",
    measure=measure,
    cases=CASES,
    draw=draw,
    tabulate=tabulate,
    caption=caption,
    seeds=1,
)
