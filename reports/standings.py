"""The leaderboard as text: where each method stands on each workload, and over all of them."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from baselines.comparison import METRICS, rounded
from baselines.leaderboard.ranking import across, ranking
from baselines.leaderboard.row import COMPARED, Row
from reports.form import Form
from reports.intervals import bracket, triple
from reports.labels import label_of
from reports.load import SAID, any_disturbed, starred
from reports.markdown import table
from reports.marks import footnote, signed
from samattr_ref.registry import METHODS
from samattr_ref.support.errors import SamattrError

NOTE = (
    "Ranks: one more than the methods that lead, where a method leads another if the paired 95 % interval over seeds "
    "of their difference, query by query, excludes zero; methods that cannot be told apart share a rank. Trainings: "
    "seconds for all scores over those of one plain training. Options: those other than the defaults, chosen on "
    "held-out queries."
)
OVER_ALL = (
    "Over all workloads: the mean of a method's rank in each seed of each workload, and how often it does better on a "
    "query than another method (Agarwal et al. 2021), the mean over the others; 95 % t-intervals over these seeds."
)


def standings(rows: Sequence[Row], form: Form) -> str:
    """The leaderboard of some rows.

    Args:
        rows: Rows of one workload or several.
        form: How it is written.

    Raises:
        SamattrError: where there is no row, or rows are of other ground truths.
    """
    if not rows:
        raise SamattrError("the leaderboard has no row: add one with --add METHOD")
    workloads = list(dict.fromkeys(row.workload for row in rows))
    ranked = {name: ranking([row for row in rows if row.workload == name]) for name in workloads}
    overall = across(rows) if len(workloads) > 1 else pd.DataFrame()
    if form == Form.CSV:
        frame = pd.concat([frame.assign(workload=name) for name, frame in ranked.items()])
        text = io.StringIO()
        frame = frame.assign(marks=frame["marks"].str.join("; "))
        frame.drop(columns=["options", "behind"]).to_csv(text, index=False, float_format="%.6g")
        return text.getvalue().strip()
    if form == Form.JSON:
        each = {name: json.loads(frame.to_json(orient="records")) for name, frame in ranked.items()}
        return json.dumps({"workloads": each, "overall": json.loads(overall.to_json(orient="records"))})
    parts: list[str] = []
    for name, frame in ranked.items():
        marked = dict(zip(_labels(frame), frame["marks"], strict=True))
        parts += filter(None, [f"**{name}**", table(_shown(frame)), footnote(marked)])
    if len(overall):
        parts += ["**over all**", table(_shown_overall(overall, rows)), OVER_ALL]
    said = [NOTE, *([SAID] if any(any_disturbed(frame["disturbed"]) for frame in ranked.values()) else [])]
    return "\n\n".join([*parts, " ".join(said)])


def _labels(frame: pd.DataFrame) -> list[str]:
    rows = frame[["method", "tuned"]].itertuples()
    return [label_of(row.method) + ("" if row.tuned else " (defaults)") for row in rows]


def _shown(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Rank": frame["rank"].astype(str),
            "Method": [signed(label, why) for label, why in zip(_labels(frame), frame["marks"], strict=True)],
            METRICS[COMPARED].heading: [bracket(cells) for cells in frame[[COMPARED, "low", "high"]].to_numpy()],
            "Trainings": [starred(rounded(row.trainings), row.disturbed) for row in frame.itertuples()],
            "Peak memory (MiB)": [rounded(value) for value in frame["mebibytes"]],
            "Options": [_options(row.method, row.options) for row in frame[["method", "options"]].itertuples()],
        }
    )


def _options(method: str, chosen: Mapping[str, Any]) -> str:
    """The options that are other than a method's defaults, where these are known."""
    known = METHODS[method].options if method in METHODS else {}
    other = {name: value for name, value in chosen.items() if name not in known or value != known[name].default}
    return ", ".join(f"{name}={value}" for name, value in other.items())


def _shown_overall(frame: pd.DataFrame, rows: Sequence[Row]) -> pd.DataFrame:
    marked = {row.name for row in rows if any(one.marks for one in row.seeds)}
    return pd.DataFrame(
        {
            "Method": [signed(name, marked & {name}) for name in frame["method"]],
            "Mean rank": [bracket(cells, 1) for cells in frame[triple("mean_rank")].to_numpy()],
            "Better than another": [bracket(cells, 2) for cells in frame[triple("improvement")].to_numpy()],
        }
    )
