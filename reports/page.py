"""The page: tables, figures and where they come from, written as files."""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from baselines.validation import N_CHANGES
from reports import claims, noise, scatter, table
from reports.experiment import Measured
from reports.experiment import experiments as known_experiments
from reports.job import HEADLINE, Job
from reports.results import Results, distinct, provenance
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.precision import DEFAULT

LARGEST_TABLE = 45
"""More rows than this stand in a file of their own."""


def check_folder(out: Path) -> None:
    """Try the folder that a job writes into, or where it would be made, before minutes of work are begun for it.

    Raises:
        SamattrError: if it cannot be written into.
    """
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise _unwritable(out, error) from error


def write(job: Job, results: Results | None, measured: Sequence[Measured], out: Path) -> str:
    """Write the tables, figures and page of a job.

    Args:
        job: The job.
        results: Its validations, or None where it has none.
        measured: Its experiments.
        out: The folder to write into; made if absent.

    Returns:
        The Markdown tables.

    Raises:
        SamattrError: for a folder that cannot be written, or where nothing at all was measured.
    """
    found = [part for part in measured if len(part.frame)]
    failures = [*(results.failures if results else []), *(line for part in measured for line in part.failures)]
    if not found and (results is None or not results.validations):
        raise SamattrError(f"nothing was measured, the first of {len(failures)} failures: {failures[0]}")
    try:
        out.mkdir(parents=True, exist_ok=True)
        sections: dict[str, list[str]] = {}
        tables: list[str] = []
        if found and not job.names and (shown := _write_claims(found, results, out)):
            sections["claims"] = shown
            tables += shown
        if results and results.validations:
            results.tidy().to_parquet(out / "results.parquet", index=False)
            for name in job.headline:
                sections[name] = _HEADLINE[name](results, out)
            tables.append(table.to_markdown(table.compute(results)))
        for part in found:
            sections[part.experiment.name], text = _write_experiment(part, out)
            tables.append(text)
        if not job.varied:
            _write_page(job, sections, _origin(job, results, measured), out)
    except OSError as error:
        raise _unwritable(out, error) from error
    return "\n\n".join(tables)


def _unwritable(out: Path, error: OSError) -> SamattrError:
    return SamattrError(f"{out} could not be written ({error.strerror}): choose another folder with --out")


def _write_page(job: Job, sections: dict[str, list[str]], origin: dict[str, Any], out: Path) -> None:
    """Put the page together; what a job of some names did not make stays as an earlier one left it."""
    kept, before = out / "sections.json", out / "provenance.json"
    if job.names and kept.exists() and before.exists():
        sections = json.loads(kept.read_text()) | sections
        earlier = json.loads(before.read_text())
        environments = distinct(earlier["environments"] + origin["environments"])
        experiments = earlier["experiments"] | origin["experiments"]
        origin = earlier | origin | {"environments": environments, "experiments": experiments}
    ordered = [name for name in ("claims", *HEADLINE, *known_experiments()) if name in sections]
    absent = [
        f"{name}: not measured yet"
        for name, experiment in known_experiments().items()
        if job.profile.name in experiment.cases and name not in origin["experiments"]
    ]
    failures = [
        *absent,
        *origin["failures"],
        *(line for part in origin["experiments"].values() for line in part["failures"]),
    ]
    kept.write_text(json.dumps(sections, indent=1) + "\n")
    before.write_text(json.dumps(origin, indent=1) + "\n")
    page = [_heading(job, origin, failures), *(text for name in ordered for text in sections[name])]
    (out / "report.md").write_text("\n\n".join(page) + "\n")


def save_figure(figure: Figure, frame: pd.DataFrame, out: Path, name: str) -> None:
    """Save a figure as PDF and PNG, and the data that it shows as CSV."""
    figure.savefig(out / f"{name}.pdf", metadata={"CreationDate": None})
    figure.savefig(out / f"{name}.png", metadata={"Software": None})
    plt.close(figure)
    frame.to_csv(out / f"{name}.csv", index=False, float_format="%.6g")


def caption(results: Results) -> str:
    """What the table's numbers are over, and what its columns mean."""
    sizes = distinct([{"name": r.workload, "n": r.n_train, "k": r.n_removed} for r in results.validations])
    points = ", ".join(f"{size['name']}: {size['k']} of n = {size['n']}" for size in sizes)
    return (
        f"Agreement with exact same-run leave-one-out retraining of training points ({points}), "
        f"{results.validations[0].n_query} queries; means over {len(results.profile.seeds)} seeds. Spearman and "
        "Pearson: means over queries of the correlation over removed points, with a bootstrap 95 % interval over "
        "seeds and queries. Slope: truth regressed on score (1 is right in size). Δ: parameter change, over at most "
        f"{N_CHANGES} removed points; of TracIn, its steps undone. Noise AUC: wrong labels found by lowest Influence "
        "Score on the validation set. Runtime and memory: scores of all training points and queries; for exact LOO, "
        "all retrainings and the most that one chunk of them took. Damping and curvature were chosen on held-out "
        "queries."
    )


def _heading(job: Job, origin: dict[str, Any], failures: Sequence[str]) -> str:
    lines = [
        f"# samattr, profile {job.profile.name}",
        "",
        f"Made by `{origin['command']}`, seeds {', '.join(map(str, origin['seeds']))}.",
    ]
    if "one_cell" in origin:
        lines[-1] += f" One number of the accuracy table alone: `{origin['one_cell']}`."
    lines += ["", *dict.fromkeys(map(_machine, origin["environments"]))]
    if failures:
        lines += ["", "Missing:", "", *(f"- {failure}" for failure in failures)]
    return "\n".join(lines)


def _machine(environment: dict[str, Any]) -> str:
    precision = environment.get("precision", DEFAULT)
    products = "" if precision == DEFAULT else f" Products in {precision}."
    return (
        f"Hardware and versions: {environment['cpu']}, {environment['cores']} cores, "
        f"{environment['gpu'] or 'no GPU'}, {environment['system']}; Python {environment['python']}, torch "
        f"{environment['torch']} ({environment['threads']} threads), NumPy {environment['numpy']}, samattr "
        f"{environment['samattr']}.{products}"
    )


def _origin(job: Job, results: Results | None, measured: Sequence[Measured]) -> dict[str, Any]:
    origin: dict[str, Any] = {"command": replace(job, names=()).command()}
    environments = [environment for part in measured for environment in part.environments]
    if results and results.validations:
        origin |= provenance(results)
        environments = origin["environments"] + environments
    parts = {
        part.experiment.name: {
            "command": part.command,
            "minutes": round(part.seconds / 60, 2),
            "cells": part.cells,
            "failures": part.failures,
        }
        for part in measured
    }
    return origin | {
        "seeds": list(job.profile.seeds),
        "environments": distinct(environments),
        "experiments": parts,
        "failures": results.failures if results else [],
    }


def _write_claims(measured: Sequence[Measured], results: Results | None, out: Path) -> list[str]:
    frame = claims.compute(measured, results)
    if frame.empty:
        return []
    frame.to_csv(out / "claims.csv", index=False)
    (out / "claims.md").write_text(claims.to_markdown(frame))
    return ["## The paper's claims", claims.to_markdown(frame).strip(), claims.CAPTION]


def _write_experiment(part: Measured, out: Path) -> tuple[list[str], str]:
    experiment, frame = part.experiment, part.frame
    name = experiment.name
    save_figure(experiment.draw(frame), frame.drop(columns="image", errors="ignore"), out, name)
    shown = experiment.tabulate(frame)
    align = ["right" if shown[column].astype(str).str.match("[-–0-9]").all() else "left" for column in shown]
    text = shown.to_markdown(index=False, disable_numparse=True, colalign=align)
    (out / f"{name}.md").write_text(text + "\n")
    note = experiment.caption(frame)
    made = f"Made by `{part.command}`: {part.seconds / 60:.1f} minutes of measuring."
    body = text if len(shown) <= LARGEST_TABLE else f"The table of {len(shown)} rows is [{name}.md]({name}.md)."
    answer = [f"**{experiment.answer(frame)}**"] if experiment.answer else []
    image = f"![{experiment.title}]({name}.png)"
    return [f"## {experiment.title}", *answer, image, f"{note} {made}", body], text


def _write_table(results: Results, out: Path) -> list[str]:
    frame = table.compute(results)
    frame.to_csv(out / "table.csv", index=False, float_format="%.6g")
    (out / "table.md").write_text(table.to_markdown(frame))
    (out / "table.tex").write_text(table.to_latex(frame, caption(results)))
    return ["## Accuracy and runtime", table.to_markdown(frame).strip(), caption(results)]


def _write_scatter(results: Results, out: Path) -> list[str]:
    sections = ["## Predicted against exact leave-one-out"]
    for workload in dict.fromkeys(result.workload for result in results.validations):
        frame = scatter.compute(results, workload)
        save_figure(scatter.draw(frame), frame, out, f"scatter-{workload}")
        sections.append(f"![Predicted against exact leave-one-out effect, {workload}](scatter-{workload}.png)")
    sections.append(
        "Change of the mean query's loss when one training point is removed: predicted (each panel its own scale) "
        f"against exact retraining; every removed point of each of {len(results.profile.seeds)} seeds. Dashed: a "
        "prediction of the right size."
    )
    return sections


def _write_noise(results: Results, out: Path) -> list[str]:
    frame = noise.compute(results)
    if frame.empty:
        return []
    save_figure(noise.draw(frame), frame, out, "noise")
    return [
        "## Wrong labels found",
        "![Wrong labels found by inspecting the lowest Influence Scores first](noise.png)",
        "Share of the wrong labels among the points of lowest Influence Score on the validation set; lines are means "
        f"over {len(results.profile.seeds)} seeds, bands run from the lowest to the highest seed, grey is chance.",
    ]


_HEADLINE: dict[str, Callable[[Results, Path], list[str]]] = {
    "table": _write_table,
    "scatter": _write_scatter,
    "noise": _write_noise,
}
