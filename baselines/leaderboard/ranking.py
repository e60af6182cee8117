"""Where methods stand: a method leads another only where the paired interval between them excludes zero.

Two methods on the same queries are compared query by query (`baselines.metrics.paired_interval`). The rank of a method
is one more than the number of methods that lead it, so that those which cannot be told apart share a rank. Over several
workloads, the mean rank and the probability of improvement (Agarwal et al. 2021, Section 4.3): how often a method does
better than another on the same query, ties counted half; both with intervals over the runs, each a seed of a workload.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy.stats

from baselines.comparison import METRICS, SHARE, SIZE
from baselines.leaderboard.row import COMPARED, Row, same_truths
from baselines.metrics import interval_over_runs, mean_interval, paired_interval
from samattr_ref.marks import over_seeds


def ranking(rows: Sequence[Row]) -> pd.DataFrame:
    """The methods of one workload, the best first.

    Args:
        rows: Rows of one workload and the same ground truths.

    Returns:
        Columns `rank`, `method`, `tuned`, the metric with `low` and `high`, `trainings`, `seconds`, `disturbed`
        (whether other programs disturbed these on any seed), `mebibytes`, `options`, `marks` (the reasons to mark it,
        none where none is known) and `behind`: the methods that lead it.

    Raises:
        SamattrError: for rows of other ground truths.
    """
    same_truths(rows)
    limits = METRICS[COMPARED].limits
    found = []
    for row in rows:
        behind = [other.name for other in rows if paired_interval(_arrays(other), _arrays(row), limits)[1] > 0]
        mean, low, high = interval_over_runs(_arrays(row), limits)
        found.append(
            {
                "rank": 1 + len(behind),
                "method": row.method,
                "tuned": row.tuned,
                COMPARED: mean,
                "low": low,
                "high": high,
                "trainings": float(np.mean([one.trainings for one in row.seeds])),
                "seconds": float(np.mean([one.runtime_s for one in row.seeds])),
                "disturbed": any(one.disturbed for one in row.seeds),
                "mebibytes": float(np.mean([one.peak_memory_bytes for one in row.seeds])) / 2**20,
                "options": row.seeds[0].options,
                "marks": over_seeds([one.marks or [] for one in row.seeds]),
                "behind": behind,
            }
        )
    return pd.DataFrame(found).sort_values(["rank", COMPARED], ascending=[True, False], ignore_index=True)


def across(rows: Sequence[Row]) -> pd.DataFrame:
    """The methods that have a row on every workload, the best mean rank first.

    Args:
        rows: Rows of several workloads.

    Returns:
        Columns `method`, `runs`, `mean_rank` and `improvement` (the mean probability of doing better on a query than
        each other method), each with `_low` and `_high`.
    """
    workloads = list(dict.fromkeys(row.workload for row in rows))
    by_name = {name: {row.workload: row for row in rows if row.name == name} for name in {row.name for row in rows}}
    names = sorted(name for name, own in by_name.items() if set(own) == set(workloads))
    for workload in workloads:
        same_truths([by_name[name][workload] for name in names])
    runs = {name: [np.array(v) for workload in workloads for v in by_name[name][workload].values()] for name in names}
    means = np.array([[values.mean() for values in runs[name]] for name in names])
    ranks = scipy.stats.rankdata(-means, axis=0)
    found = []
    for i, name in enumerate(names):
        others = [other for other in names if other != name]
        better = np.array(
            [np.mean([_better(own, runs[other][j]) for other in others]) for j, own in enumerate(runs[name])]
        )
        row: dict[str, object] = {"method": name, "runs": len(runs[name])}
        for column, values, limits in (("mean_rank", ranks[i], SIZE), ("improvement", better, SHARE)):
            row |= dict(zip((column, f"{column}_low", f"{column}_high"), mean_interval(values, limits), strict=True))
        found.append(row)
    return pd.DataFrame(found).sort_values("mean_rank", ignore_index=True)


def _arrays(row: Row) -> list[np.ndarray]:
    return [np.array(values) for values in row.values()]


def _better(own: np.ndarray, other: np.ndarray) -> float:
    return float(np.mean((own > other) + 0.5 * (own == other)))
