"""A query and the training points that each method calls most helpful and most harmful to it, as pictures or words."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from baselines.studies.helpful_and_harmful import CASES, PAIR, POINT, QUERIES, QUERY, SHOWN, measure
from baselines.validation import GROUND_TRUTH
from reports.curves import describe
from reports.experiment import Experiment
from reports.experiments.harmful import class_name, pixels
from reports.labels import label_of
from reports.style import PAGE_INCHES, figure_style

DRAWN = (GROUND_TRUTH, "sam-unrolled", "sam-if", "sam-gif")
"""Methods of the printed figure; the page to be explored has all of them."""

WRONG = "#D55E00"


def draw(frame: pd.DataFrame) -> Figure:
    """The first query of each workload of pictures: three points at either end, by some methods."""
    pictured = [name for name, part in frame.groupby("workload", sort=False) if part["image"].notna().any()]
    each, columns = SHOWN // 2, SHOWN // 2 * 2 + 1
    with figure_style():
        height = 0.3 + max(1, len(pictured)) * (0.3 + 0.85 * len(DRAWN))
        figure = plt.figure(figsize=(PAGE_INCHES, height if pictured else 0.6), layout="constrained")
        if not pictured:
            figure.text(0.5, 0.5, "no pictures: see the table", ha="center", va="center")
            return figure
        for workload, block in zip(pictured, figure.subfigures(len(pictured), 1, squeeze=False)[:, 0], strict=True):
            part = frame[frame["workload"] == workload]
            block.suptitle(f"{workload}: most helpful (left) and most harmful (right) to the first query", fontsize=8)
            shown = [name for name in DRAWN if name in set(part["method"].dropna())]
            grid = block.subplots(len(shown), columns, squeeze=False)
            query = part[(part["part"] == QUERY) & (part["index"] == 0)].iloc[0]
            points = part[part["part"] == POINT].set_index("index")
            for row, method in zip(grid, shown, strict=True):
                ends = part[(part["part"] == PAIR) & (part["method"] == method) & (part["query"] == 0)]
                ends = ends.set_index("rank")
                ranks = [*range(1, each + 1), 0, *range(-each, 0)]
                for axis, rank in zip(row, ranks, strict=True):
                    if rank == 0:
                        _picture(axis, query, f"query: {class_name(workload, int(query['given']))}")
                    elif rank in ends.index:
                        pair = ends.loc[rank]
                        point = points.loc[pair["point"]]
                        said = f"{class_name(workload, int(point['given']))}: {pair['score']:+.2g}"
                        _picture(axis, point, said, wrong=bool(point["wrong"]))
                    else:
                        axis.set_axis_off()
                row[0].set_ylabel(label_of(method), fontsize=7)
    return figure


def _picture(axis: Axes, row: pd.Series, title: str, wrong: bool = False) -> None:
    axis.imshow(pixels(row["image"]), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    axis.set_title(title, fontsize=6.5, color=WRONG if wrong else "black", pad=2)
    axis.set(xticks=[], yticks=[])


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
        "each its label and its predicted effect in nats, for exact LOO the effect itself; in orange wrong labels "
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
