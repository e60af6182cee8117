"""What a reader explores: galleries of points, predicted beside exact effects, and runs from step to step."""

from typing import Any

import numpy as np
import pandas as pd

from baselines.studies.helpful_and_harmful import PAIR, POINT, QUERY, SUSPECT
from baselines.studies.steps_of_a_run import ADJOINT, STATE
from reports.classes import class_name
from reports.experiments.along_the_run import called, sums, wrong
from reports.labels import label_of


def galleries(frame: pd.DataFrame) -> dict[str, Any]:
    """The rows of the experiment `gallery` as the page reads them.

    Args:
        frame: From `baselines.studies.helpful_and_harmful.measure`, with `workload`.

    Returns:
        By workload: `queries` and `points` (by their index), each with its labels in words and `image` or `text`;
        `methods`, their labels; `pairs`, of each method and query, and `suspects`, of each method: lists of point,
        rank, score and, of pairs, exact effect.
    """
    return {str(name): _gallery(str(name), part) for name, part in frame.groupby("workload", sort=False)}


def _gallery(workload: str, frame: pd.DataFrame) -> dict[str, Any]:
    looks = [column for column in ("image", "text") if column in frame]
    queries = [
        {
            "label": class_name(workload, int(row["given"])),
            "predicted": class_name(workload, int(row["predicted"])),
            "loss": row["loss"],
            **_look(row, looks),
        }
        for row in frame[frame["part"] == QUERY].sort_values("index").to_dict("records")
    ]
    points = {
        int(row["index"]): {
            "label": class_name(workload, int(row["given"])),
            "right": class_name(workload, int(row["clean"])),
            "wrong": wrong(row),
            **_look(row, looks),
        }
        for row in frame[frame["part"] == POINT].to_dict("records")
    }
    pairs, suspects = frame[frame["part"] == PAIR], frame[frame["part"] == SUSPECT]
    return {
        "queries": queries,
        "points": points,
        "methods": {name: label_of(name) for name in dict.fromkeys(pairs["method"])},
        "pairs": {
            method: {int(q): _rows(own, ["point", "rank", "score", "exact"]) for q, own in part.groupby("query")}
            for method, part in pairs.groupby("method", sort=False)
        },
        "suspects": {
            method: _rows(part, ["point", "rank", "score"]) for method, part in suspects.groupby("method", sort=False)
        },
    }


def _look(row: dict[str, Any], columns: list[str]) -> dict[str, str]:
    return {column: row[column] for column in columns if isinstance(row[column], str)}


def _rows(frame: pd.DataFrame, columns: list[str]) -> list[list[float | None]]:
    """Numbers, row by row; what is unknown is None, which JSON has."""
    rows: np.ndarray = frame[columns].to_numpy(float)
    return [[float(f"{value:.6g}") if np.isfinite(value) else None for value in row] for row in rows]


def runs(frame: pd.DataFrame) -> dict[str, Any]:
    """The rows of the experiment `along-the-run` as charts take them.

    Args:
        frame: From `baselines.studies.steps_of_a_run.measure`, with `workload`.

    Returns:
        By workload: `states` and `adjoint`, a row a step; `influence`, a row a step and followed point, with the
        running `sum` and a `label`.
    """
    found = {}
    for name, part in frame.groupby("workload", sort=False):
        states, adjoint = part[part["part"] == STATE], part[part["part"] == ADJOINT]
        columns = ["step", "loss", "accuracy", "grad_norm", "rho_over_grad_norm"]
        kept = [str(value) in ("True", "1.0") for value in states["kept"]]
        found[str(name)] = {
            "states": [_known(row) for row in states[columns].astype(float).assign(kept=kept).to_dict("records")],
            "adjoint": adjoint[["step", "adjoint"]].astype(float).to_dict("records"),
            "influence": [row for score, own in sums(part) for row in _influence(str(name), score, own)],
        }
    return found


def _known(row: dict[str, Any]) -> dict[str, Any]:
    """The row, what is unknown in it as None, which JSON has: ρ/‖g‖ where ‖g‖ is zero."""
    return {name: value if np.isfinite(value) else None for name, value in row.items()}


def _influence(workload: str, score: float, own: pd.DataFrame) -> list[dict[str, Any]]:
    """The running sum of one point's terms."""
    label = called(workload, own.iloc[0], score)
    rows = own[["step", "sum"]].astype(float).to_dict("records")
    return [{**row, "label": label} for row in rows]
