"""The accuracy and runtime table: every method against exact leave-one-out, over seeds."""

import numpy as np
import pandas as pd

from baselines.metrics import interval_over_seeds
from reports.markdown import render
from reports.results import Results
from reports.style import look

METRICS = {
    "spearman": "Spearman",
    "pearson": "Pearson",
    "slope": "Slope",
    "relative_error": "Rel. error of Δ",
    "cosine": "Cosine of Δ",
    "spearman_mean_query": "Spearman, mean query",
    "noise_auc": "Noise AUC",
    "runtime_s": "Runtime (s)",
    "peak_memory_bytes": "Peak memory (MiB)",
}
"""Columns of the table and how they are headed."""

PER_QUERY = ("spearman", "pearson")
ALIGN = ("left", *["right"] * len(METRICS))


def compute(results: Results) -> pd.DataFrame:
    """One row a workload and method: each metric's mean over seeds.

    Per-query correlations carry a 95 % interval over seeds and queries (columns `*_low`, `*_high`), the other columns
    the smallest and largest seed's.
    """
    rows = []
    pairs = dict.fromkeys((result.workload, result.method) for result in results.validations)
    for workload, method in pairs:
        seeds = [r for r in results.validations if (r.workload, r.method) == (workload, method)]
        row: dict[str, object] = {"workload": workload, "method": method, "seeds": len(seeds)}
        for metric in METRICS:
            if metric in PER_QUERY:
                defined = seeds[0].metrics[f"{metric}_per_query"] is not None
                values = [sum(r.per_query[metric]) / len(r.per_query[metric]) for r in seeds] if defined else []
                bounds = interval_over_seeds([np.array(r.per_query[metric]) for r in seeds]) if defined else []
            else:
                found = [r.metrics[metric] if metric in r.metrics else getattr(r, metric) for r in seeds]
                values = [float(value) for value in found if value is not None]
                bounds = [min(values), max(values)] if values else []
            row[metric] = sum(values) / len(values) if values else None
            row[f"{metric}_low"], row[f"{metric}_high"] = bounds or (None, None)
        rows.append(row)
    return pd.DataFrame(rows)


def present(frame: pd.DataFrame, workload: str) -> pd.DataFrame:
    """The table of one workload as a reader sees it: labels, rounded numbers, intervals in brackets."""
    part = frame[frame["workload"] == workload]
    shown = pd.DataFrame({"Method": [look(method).label for method in part["method"]]})
    for metric, heading in METRICS.items():
        scale = 2**-20 if metric == "peak_memory_bytes" else 1.0
        cells = []
        for value, low, high in zip(part[metric], part[f"{metric}_low"], part[f"{metric}_high"], strict=True):
            if pd.isna(value):
                cells.append("–")
            elif metric in PER_QUERY:
                cells.append(f"{value:.3f} [{low:.3f}, {high:.3f}]")
            else:
                cells.append(_round(value * scale))
        shown[heading] = cells
    return shown


def to_markdown(frame: pd.DataFrame) -> str:
    """One Markdown table a workload."""
    tables = {workload: present(frame, workload) for workload in dict.fromkeys(frame["workload"])}
    return render("accuracy_tables", tables=tables, align=ALIGN) + "\n"


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
        parts.append(
            shown.to_latex(index=False, caption=title, label=f"tab:{workload}", column_format="l" + "r" * len(METRICS))
        )
    return "\n".join(parts)


def _round(value: float) -> str:
    text = f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"
    return "0.000" if text == "-0.000" else text
