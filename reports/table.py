"""The accuracy and runtime table: every method against exact leave-one-out, over seeds."""

import numpy as np
import pandas as pd

from baselines.comparison import table_metrics
from baselines.metrics import interval_over_seeds
from baselines.studies.profiles import Results
from reports.intervals import bracket, triple
from reports.labels import label_of
from reports.markdown import render
from reports.trained import trained


def compute(results: Results) -> pd.DataFrame:
    """One row a workload and method: each metric's mean over seeds.

    Per-query correlations carry a 95 % interval over seeds and queries (columns `*_low`, `*_high`), the other columns
    the smallest and largest seed's. `network` says what training made of the workload's network.
    """
    rows = []
    networks = trained(results.networks())
    pairs = dict.fromkeys((result.workload, result.method) for result in results.validations)
    for workload, method in pairs:
        seeds = [r for r in results.validations if (r.workload, r.method) == (workload, method)]
        row: dict[str, object] = {"workload": workload, "method": method, "seeds": len(seeds)}
        row |= {"n_train": seeds[0].n_train, "network": networks[workload]}
        for metric in table_metrics():
            name = metric.name
            if metric.per_query:
                defined = seeds[0].metrics[metric.key] is not None
                values = [sum(r.per_query[name]) / len(r.per_query[name]) for r in seeds] if defined else []
                bounds = interval_over_seeds([np.array(r.per_query[name]) for r in seeds]) if defined else []
            else:
                found = [getattr(r, name) if metric.needs == "cost" else r.metrics[metric.key] for r in seeds]
                values = [float(value) for value in found if value is not None]
                bounds = [min(values), max(values)] if values else []
            row[name] = sum(values) / len(values) if values else None
            row[f"{name}_low"], row[f"{name}_high"] = bounds or (None, None)
        rows.append(row)
    return pd.DataFrame(rows)


def present(frame: pd.DataFrame, workload: str) -> pd.DataFrame:
    """The table of one workload as a reader sees it: labels, rounded numbers, intervals in brackets."""
    part = frame[frame["workload"] == workload]
    shown = pd.DataFrame({"Method": [label_of(method) for method in part["method"]]})
    for metric in table_metrics():
        cells = []
        for value, low, high in part[triple(metric.name)].to_numpy():
            if pd.isna(value):
                cells.append("–")
            elif metric.per_query:
                cells.append(bracket((value, low, high)))
            else:
                cells.append(metric.shown(value))
        shown[metric.heading] = cells
    return shown


def to_markdown(frame: pd.DataFrame) -> str:
    """One Markdown table a workload."""
    tables = {workload: present(frame, workload) for workload in dict.fromkeys(frame["workload"])}
    networks = frame.drop_duplicates("workload").set_index("workload")[["n_train", "network"]].to_dict("index")
    return (
        render("accuracy_tables", tables=tables, networks=networks, align=["left", *["right"] * len(table_metrics())])
        + "\n"
    )


def to_latex(frame: pd.DataFrame, caption: str) -> str:
    """One LaTeX table (booktabs) a workload."""
    parts = []
    for workload in dict.fromkeys(frame["workload"]):
        shown = (
            present(frame, workload).replace({"–": "--"}).rename(columns=lambda name: name.replace("Δ", r"$\Delta$"))
        )
        title = (
            f"{workload}. {caption}".replace("%", r"\%")
            .replace("_", r"\_")
            .replace("≥", r"$\ge$")
            .replace("ρ", r"$\rho$")
        )
        columns = "l" + "r" * (shown.shape[1] - 1)
        parts.append(shown.to_latex(index=False, caption=title, label=f"tab:{workload}", column_format=columns))
    return "\n".join(parts)
