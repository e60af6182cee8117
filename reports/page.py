"""The page: tables, figures and where they come from, written as files."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.profiles import Results
from reports import claims, noise, scatter, table
from reports.experiment import Measured
from reports.experiment import experiments as known_experiments
from reports.job import HEADLINE, Job
from reports.load import MARK, SAID
from reports.markdown import render
from reports.markdown import table as markdown_table
from reports.marks import footnote_of, marked_in, sign_figure, signed_table
from samattr_ref.support.errors import SamattrError, first_line
from samattr_ref.support.precision import DEFAULT

Marked = Mapping[tuple[str, str], list[str]]
"""What is marked, by workload and label, and why."""

VALUES = "results.parquet"
"""The file of what every validation found."""

LARGEST_TABLE = 45
"""More rows than this stand in a file of their own."""

MACHINE = ("cpu", "cores", "gpu", "system", "python", "torch", "threads", "numpy", "samattr", "precision")
"""What the page says of where its numbers were made; the record says more."""


def check_folder(out: Path, option: str = "--out") -> None:
    """Try the folder that a job writes into, or where it would be made, before minutes of work are begun for it.

    Args:
        out: The folder.
        option: What names it.

    Raises:
        SamattrError: if it cannot be written into.
    """
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise _unwritable(out, error, option) from error


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
        sections: dict[str, str] = {}
        tables: list[str] = []
        values = results.tidy() if results and results.validations else read_values(out)
        if found and (shown := _write_claims(found, values, out, bool(job.names))):
            sections["claims"] = shown
            tables.append(shown)
        if results and results.validations:
            results.tidy().to_parquet(out / VALUES, index=False)
            for name in job.headline:
                sections[name] = _HEADLINE[name](results, out)
            tables.append(table.to_markdown(table.compute(results)))
        for part in found:
            try:
                with part.drawing():
                    sections[part.experiment.name], text = write_experiment(part, out)
            except SamattrError as error:
                save_rows(part.frame, out, part.experiment.name)
                part.failures[:] = [*(line for line in part.failures if line != str(error)), str(error)]
            else:
                tables.append(text)
        write_page(job, sections, _origin(job, results, measured), out)
    except OSError as error:
        raise _unwritable(out, error) from error
    return "\n\n".join(tables)


def _unwritable(out: Path, error: OSError, option: str = "--out") -> SamattrError:
    return SamattrError(f"{out} could not be written ({error.strerror}): choose another folder with {option}")


def read_values(folder: Path) -> pd.DataFrame | None:
    """What each seed's validations found, as `Results.tidy` has it, or None where a page has none.

    Raises:
        SamattrError: for a damaged file.
    """
    path = folder / VALUES
    if not path.exists():
        return None
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise SamattrError(f"{path} cannot be read ({first_line(error)}): fetch the page again") from error


def write_page(job: Job, sections: dict[str, str], origin: dict[str, Any], out: Path) -> None:
    """Put the page together; what a job of some names did not make stays as an earlier one left it.

    Args:
        job: The job.
        sections: What it made, by name.
        origin: Where that comes from: `environments` and `experiments` at least.
        out: The folder.
    """
    kept, before = out / "sections.json", out / "provenance.json"
    if job.names and kept.exists() and before.exists():
        sections = json.loads(kept.read_text()) | sections
        earlier = json.loads(before.read_text())
        environments = _distinct(earlier["environments"] + origin["environments"])
        others = {name: _with_environments(part, earlier) for name, part in earlier["experiments"].items()}
        experiments = others | origin["experiments"]
        origin = earlier | origin | {"environments": environments, "experiments": experiments}
    origin = origin | {
        "experiments": {name: _short(part, origin["environments"]) for name, part in origin["experiments"].items()}
    }
    ordered = [name for name in ("claims", *HEADLINE, *known_experiments()) if name in sections]
    absent = [
        f"{name}: not measured yet"
        for name, experiment in known_experiments().items()
        if job.profile.name in experiment.cases and name not in origin["experiments"] and not job.varied
    ]
    failures = [
        *absent,
        *origin["failures"],
        *(line for part in origin["experiments"].values() for line in part["failures"]),
    ]
    kept.write_text(json.dumps(sections, indent=1) + "\n")
    before.write_text(json.dumps(origin, indent=1) + "\n")
    machines = _distinct(
        [{name: {"precision": DEFAULT, **each}[name] for name in MACHINE} for each in origin["environments"]]
    )
    page = render(
        "page",
        title=job.title,
        origin=origin,
        machines=machines,
        usual_precision=DEFAULT,
        failures=failures,
        sections=[sections[name] for name in ordered if sections[name]],
    )
    (out / "report.md").write_text(page + "\n")


def _with_environments(part: dict[str, Any], origin: dict[str, Any]) -> dict[str, Any]:
    """An experiment's origin with the environments that it was measured in: where it names none, those of its page."""
    return {"environments": origin["environments"]} | part


def _short(part: dict[str, Any], environments: list[dict[str, Any]]) -> dict[str, Any]:
    """An experiment's origin without its environments, where they are all of its page's."""
    return {key: value for key, value in part.items() if key != "environments" or value != environments}


def save_figure(figure: Figure, frame: pd.DataFrame, out: Path, name: str) -> None:
    """Save a figure as PDF and PNG, and the data that it shows as CSV."""
    figure.savefig(out / f"{name}.pdf", metadata={"CreationDate": None})
    figure.savefig(out / f"{name}.png", metadata={"Software": None})
    plt.close(figure)
    save_rows(frame, out, name)


def save_rows(frame: pd.DataFrame, out: Path, name: str) -> None:
    """Save the data of a figure as CSV."""
    frame.to_csv(out / f"{name}.csv", index=False, float_format="%.6g")


def _origin(job: Job, results: Results | None, measured: Sequence[Measured]) -> dict[str, Any]:
    origin: dict[str, Any] = {"command": replace(job, names=()).command()}
    environments = [environment for part in measured for environment in part.environments]
    if results and results.validations:
        origin |= _provenance(results)
        environments = origin["environments"] + environments
    parts = {
        part.experiment.name: {
            "command": part.command,
            "minutes": round(part.seconds / 60, 2),
            **({} if part.load is None else {"load": part.load}),
            "cells": part.cells,
            "failures": part.failures,
            "environments": part.environments,
            **_further_seeds(job, part),
        }
        for part in measured
    }
    return (
        origin
        | {
            "seeds": list(job.profile.seeds),
            "environments": _distinct(environments),
            "experiments": parts,
            "failures": results.failures if results else [],
        }
        | ({"workload": job.workload, "settings": dict(job.settings)} if job.varied else {})
    )


def _further_seeds(job: Job, part: Measured) -> dict[str, list[int]]:
    """The seeds of an experiment, where some of its cases have more than the job."""
    seeds = sorted({int(seed) for seed in part.frame.get("seed", ())})
    return {} if set(seeds) <= set(job.profile.seeds) else {"seeds": seeds}


def _provenance(results: Results) -> dict[str, Any]:
    """What a reader needs to make the validations again: the command of one, hardware, versions, numbers of points."""
    first = results.validations[0]
    return {
        "one_cell": "samattr validate METHOD --workload WORKLOAD --seed SEED --json",
        "environments": _distinct([result.environment for result in results.validations]),
        "n_train": first.n_train,
        "n_query": first.n_query,
        "n_removed": first.n_removed,
    }


def _distinct(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items without repetitions, in their order."""
    found: list[dict[str, Any]] = []
    for item in items:
        if item not in found:
            found.append(item)
    return found


def _write_claims(measured: Sequence[Measured], values: pd.DataFrame | None, out: Path, among_others: bool) -> str:
    """Write the claims; those that what was measured says nothing of stay as they are."""
    frame, kept = claims.compute(measured, values), out / "claims.csv"
    if among_others and kept.exists():
        frame = claims.updated(pd.read_csv(kept, dtype=str, keep_default_na=False), frame)
    if frame.empty:
        return ""
    frame.to_csv(kept, index=False)
    (out / "claims.md").write_text(markdown_table(frame) + "\n")
    shown = frame[["Ours", "Minutes"]].astype(str)
    starred = any(shown[column].str.contains(f" {MARK}", regex=False).any() for column in shown)
    return render("claims", frame=frame, tolerance=claims.EDIT_TOLERANCE, remark=SAID if starred else "")


def write_experiment(part: Measured, out: Path) -> tuple[str, str]:
    """Write an experiment's figure, rows and table.

    Returns:
        Its section of the page, and its table.
    """
    experiment, frame = part.experiment, part.frame
    name = experiment.name
    marked = marked_in(frame)
    figure, shown = experiment.draw(frame), signed_table(experiment.tabulate(frame), marked)
    sign_figure(figure, {label for _, label in marked})
    save_figure(figure, frame, out, name)
    align = ["right" if shown[column].astype(str).str.match("[-–0-9]").all() else "left" for column in shown]
    note = footnote_of(marked)
    text = "\n\n".join(filter(None, [markdown_table(shown, align), note]))
    (out / f"{name}.md").write_text(text + "\n")
    section = render(
        "experiment",
        name=name,
        title=experiment.title,
        answer=experiment.answer(frame) if experiment.answer else None,
        caption=part.caption,
        command=part.command,
        minutes=part.seconds / 60,
        disturbed=part.disturbed,
        table=text,
        note=note,
        rows=len(shown),
        largest=LARGEST_TABLE,
    )
    return section, text


def write_table(frame: pd.DataFrame, out: Path) -> str:
    """Write the accuracy table as CSV, Markdown and LaTeX: its section of the page.

    Args:
        frame: From `reports.table`.
        out: The folder.
    """
    frame.to_csv(out / "table.csv", index=False, float_format="%.6g")
    tables, said = table.to_markdown(frame), table.caption(frame)
    (out / "table.md").write_text(tables)
    (out / "table.tex").write_text(table.to_latex(frame, said))
    return render("accuracy", tables=tables.strip(), caption=said)


def write_scatter(frames: Mapping[str, pd.DataFrame], marked: Marked, out: Path) -> str:
    """Write predicted against exact effects, a figure a workload: their section of the page.

    Args:
        frames: From `reports.scatter`, by workload.
        marked: From `reports.marks.marked_in`.
        out: The folder.
    """
    for workload, frame in frames.items():
        figure = scatter.draw(frame)
        sign_figure(figure, {label for name, label in marked if name == workload})
        save_figure(figure, frame, out, f"scatter-{workload}")
    seeds = max(frame["seed"].nunique() for frame in frames.values())
    return render("scatter", workloads=list(frames), seeds=seeds, note=footnote_of(marked))


def write_noise(frame: pd.DataFrame, marked: Marked, out: Path) -> str:
    """Write the figure of wrong labels found: its section of the page, empty where no label was.

    Args:
        frame: From `reports.noise`.
        marked: From `reports.marks.marked_in`.
        out: The folder.
    """
    if frame.empty:
        return ""
    figure = noise.draw(frame)
    sign_figure(figure, {label for _, label in marked})
    save_figure(figure, frame, out, "noise")
    return render("noise", seeds=frame["seed"].nunique(), note=footnote_of(marked))


def _scatters(results: Results) -> dict[str, pd.DataFrame]:
    workloads = dict.fromkeys(result.workload for result in results.validations)
    return {workload: scatter.compute(results, workload) for workload in workloads}


_HEADLINE: dict[str, Callable[[Results, Path], str]] = {
    "table": lambda results, out: write_table(table.compute(results), out),
    "scatter": lambda results, out: write_scatter(_scatters(results), marked_in(results.tidy()), out),
    "noise": lambda results, out: write_noise(noise.compute(results), marked_in(results.tidy()), out),
}
