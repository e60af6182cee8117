"""The accuracy and runtime table: every method against exact leave-one-out, over seeds."""

import pandas as pd

from baselines.comparison import table_metrics
from baselines.metrics import mean_interval
from baselines.studies.profiles import Results
from reports.intervals import bracket, triple
from reports.labels import label_of
from reports.load import any_disturbed, remark, starred
from reports.markdown import render
from reports.marks import SIGN, footnote, reasons_in, signed
from reports.trained import trained


def compute(results: Results) -> pd.DataFrame:
    """One row a workload and method: each metric's mean over seeds with its 95 % interval.

    `network` says what training made of the workload's network, `marks` what must be known of the row before it is
    believed, where that is known. Of a single seed the interval is that of its own
    validation: over its queries or removed points.
    """
    networks = trained(results.networks())
    facts = [
        {"workload": r.workload, "n_train": r.n_train, "n_removed": r.n_removed, "n_query": r.n_query}
        | {"network": networks[r.workload]}
        for r in results.validations
    ]
    return summarised(results.tidy(), pd.DataFrame(facts))


DAGGER = r"$^\dagger$"
"""`SIGN` in LaTeX."""

RUNTIME = "runtime_s"
"""The metric that is a time."""

FACTS = ["n_train", "n_removed", "n_query", "network"]
"""What the table knows of a workload beside its metrics."""


def summarised(values: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    """The table's rows from the values of every seed.

    Args:
        values: From `Results.tidy`.
        facts: Columns `workload` and `FACTS`, the first row of each workload.
    """
    rows = []
    known = facts.drop_duplicates("workload").set_index("workload")
    for (workload, method), part in values.groupby(["workload", "method"], sort=False):
        row: dict[str, object] = {"workload": workload, "method": method, "seeds": part["seed"].nunique()}
        row |= known.loc[workload, FACTS].to_dict()
        for metric in table_metrics():
            own = part[part["metric"] == metric.key]
            found = mean_interval(own["value"].to_numpy(), metric.limits)
            if len(own) == 1:
                found = found[0], *own[["low", "high"]].to_numpy()[0]
            row |= dict(zip(triple(metric.name), found, strict=True))
        if "marks" in part:
            row["marks"] = "; ".join(reasons_in(part))
        flags = part.loc[part["metric"] == "disturbed", "value"]
        if len(flags):
            row["disturbed"] = any_disturbed(flags)
        rows.append(row)
    return pd.DataFrame(rows)


def marked(frame: pd.DataFrame, workload: str) -> dict[str, list[str]]:
    """What is marked in the table of a workload, and why, by label."""
    part = frame[frame["workload"] == workload]
    texts = part["marks"] if "marks" in part else [""] * len(part)
    return {label_of(name): [text] if text else [] for name, text in zip(part["method"], texts, strict=True)}


def caption(frame: pd.DataFrame) -> str:
    """What the table's numbers are over, and what its columns mean."""
    sizes = frame.drop_duplicates("workload")[["workload", "n_train", "n_removed"]].to_dict("records")
    captions = [text for text in dict.fromkeys(metric.caption for metric in table_metrics()) if text]
    queries = sorted({int(count) for count in frame["n_query"]})
    asked = f"{queries[0]} to {queries[-1]}" if len(queries) > 1 else str(queries[0])
    said = render("accuracy_caption", sizes=sizes, n_query=asked, seeds=frame["seeds"].max(), columns=captions)
    return said + remark(frame)


def present(frame: pd.DataFrame, workload: str) -> pd.DataFrame:
    """The table of one workload as a reader sees it: labels, rounded numbers, intervals in brackets."""
    part = frame[frame["workload"] == workload]
    why, labels = marked(frame, workload), [label_of(method) for method in part["method"]]
    shown = pd.DataFrame({"Method": [signed(label, why[label]) for label in labels]})
    flags = part["disturbed"] if "disturbed" in part else [False] * len(part)
    for metric in table_metrics():
        cells = []
        for (value, low, high), disturbed in zip(part[triple(metric.name)].to_numpy(), flags, strict=True):
            if pd.isna(value):
                cells.append("–")
            elif metric.per_query:
                cells.append(bracket((value, low, high)))
            else:
                cells.append(starred(metric.shown(value), metric.name == RUNTIME and disturbed))
        shown[metric.heading] = cells
    return shown


def to_markdown(frame: pd.DataFrame) -> str:
    """One Markdown table a workload."""
    tables = {workload: present(frame, workload) for workload in dict.fromkeys(frame["workload"])}
    networks = frame.drop_duplicates("workload").set_index("workload")[["n_train", "network"]].to_dict("index")
    return (
        render(
            "accuracy_tables",
            tables=tables,
            networks=networks,
            notes={workload: footnote(marked(frame, workload)) for workload in tables},
            align=["left", *["right"] * len(table_metrics())],
        )
        + "\n"
    )


def to_latex(frame: pd.DataFrame, caption: str) -> str:
    """One LaTeX table (booktabs) a workload."""
    parts = []
    for workload in dict.fromkeys(frame["workload"]):
        shown = (
            present(frame, workload).replace({"–": "--"}).rename(columns=lambda name: name.replace("Δ", r"$\Delta$"))
        )
        shown["Method"] = shown["Method"].str.replace(SIGN, DAGGER)
        title = (
            " ".join(filter(None, [f"{workload}. {caption}", footnote(marked(frame, workload))]))
            .replace("%", r"\%")
            .replace("_", r"\_")
            .replace("≥", r"$\ge$")
            .replace("ρ", r"$\rho$")
            .replace(SIGN, DAGGER)
        )
        columns = "l" + "r" * (shown.shape[1] - 1)
        parts.append(shown.to_latex(index=False, caption=title, label=f"tab:{workload}", column_format=columns))
    return "\n".join(parts)
