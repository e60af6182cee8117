"""The leaderboards of the report: what every method reached by every metric, and cost against fidelity."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from baselines.comparison import METRICS, table_metrics
from baselines.leaderboard.entry import ROWS
from baselines.leaderboard.ranking import ranking
from baselines.leaderboard.row import COMPARED, read_rows
from reports.intervals import triple
from reports.labels import label_of
from reports.marks import signed
from reports.table import FACTS, RUNTIME, summarised

INTERVAL = ("mean", "low", "high")


def boards(values: pd.DataFrame | None) -> list[dict[str, Any]]:
    """What each method reached on each workload of a page, by each metric of the accuracy table.

    Args:
        values: What each seed's validations found, as `Results.tidy` has it; None where there is nothing.

    Returns:
        A row a `workload`, `metric` (its heading) and method (`label`): `mean`, `low`, `high`, `seeds`, and `order`, by
        which the best comes first; `starred`, whether it is a time that was disturbed; `note`, why the method is
        marked, empty where it is not.
    """
    if values is None:
        return []
    nothing = pd.DataFrame({"workload": values["workload"].unique()}).reindex(columns=["workload", *FACTS])
    means = summarised(values, nothing)
    return [
        {
            "workload": row["workload"],
            "metric": metric.heading,
            "label": signed(label_of(row["method"]), _note(row)),
            "note": _note(row),
            **_interval(row, metric.name),
            "seeds": int(row["seeds"]),
            "order": _order(metric.best, row[metric.name]),
            "starred": metric.name == RUNTIME and row.get("disturbed") is True,
        }
        for row in means.to_dict("records")
        for metric in table_metrics()
        if pd.notna(row[metric.name])
    ]


def _note(row: dict[str, Any]) -> str:
    return str(row.get("marks", ""))


def _order(best: str, value: float) -> float:
    """Smaller is better."""
    return {"highest": -value, "lowest": value, "one": abs(value - 1)}[best]


def _interval(row: dict[str, Any], name: str) -> dict[str, float | None]:
    """Mean and interval; what is unknown is None, which JSON has."""
    numbers = (float(row[column]) for column in triple(name))
    return {key: number if np.isfinite(number) else None for key, number in zip(INTERVAL, numbers, strict=True)}


def shipped() -> dict[str, list[dict[str, Any]]]:
    """The leaderboard that comes with samattr, by workload: the rows of its table, the best first."""
    rows = read_rows(ROWS)
    found = {}
    for workload in dict.fromkeys(row.workload for row in rows):
        frame = ranking([row for row in rows if row.workload == workload])
        front = _front(frame["trainings"].tolist(), frame[COMPARED].tolist())
        found[workload] = [
            {
                "rank": int(row["rank"]),
                "label": signed(label_of(row["method"]) + ("" if row["tuned"] else " (defaults)"), row["marks"]),
                "note": "; ".join(row["marks"]),
                "mean": row[COMPARED],
                "low": row["low"],
                "high": row["high"],
                "cost": row["trainings"],
                "mebibytes": row["mebibytes"],
                "front": on,
                "starred": bool(row["disturbed"]),
            }
            for row, on in zip(frame.to_dict("records"), front, strict=True)
        ]
    return found


def _front(costs: Sequence[float], values: Sequence[float]) -> list[bool]:
    """Which are on the front: nothing is as cheap and better, nor as good and cheaper.

    >>> _front([1, 2, 3, 3], [0.1, 0.5, 0.4, 0.9])
    [True, True, False, True]
    """
    pairs = list(zip(costs, values, strict=True))
    return [not any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in pairs) for cost, value in pairs]


COMPARED_HEADING = str(METRICS[COMPARED].heading)
"""What the leaderboards that come with samattr are ranked by."""
