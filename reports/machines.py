"""The machines that times were taken on: those of one machine say nothing of those of another.

The cells of an experiment may be measured on several machines, one after the other. What was timed has a column
`machine`; rows of before that was kept have none: of these the page's own line on hardware holds.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports.labels import labels


def named(environment: Mapping[str, Any]) -> str:
    """A machine as tables write it.

    >>> named({"gpu": None, "cpu": "A processor", "cores": 2})
    'A processor, 2 cores'
    """
    return f"{environment['gpu'] or environment['cpu']}, {environment['cores']} cores"


def several(frame: pd.DataFrame) -> bool:
    """Whether the rows of a frame were timed on more than one machine."""
    return "machine" in frame and frame["machine"].nunique() > 1


def remark(frame: pd.DataFrame) -> str:
    """What a caption says of times from several machines, after a space; empty where they are from one."""
    if not several(frame):
        return ""
    usual, *others = frame["machine"].value_counts().index
    which = "; ".join(f"on {machine}: {_rows(frame[frame['machine'] == machine])}" for machine in others)
    return f" Times compare within one machine alone; {which}; on {usual}: all others."


def _rows(frame: pd.DataFrame) -> str:
    """Of what some rows are: workloads, seeds and, where they are of methods, these."""
    said = []
    for (workload, seed), part in frame.groupby(["workload", "seed"], sort=False):
        of = f" ({', '.join(dict.fromkeys(labels(part)))})" if "method" in part else ""
        said.append(f"{workload}, seed {seed}{of}")
    return ", ".join(said)
