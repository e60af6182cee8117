"""The page: tables, figures and where they come from, written as files."""

import json
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from baselines.validation import N_CHANGES
from reports import noise, scatter, table
from reports.results import Results, provenance
from samattr_ref.errors import SamattrError, unknown_name


def write(results: Results, out: Path, command: str, names: list[str] | None = None) -> str:
    """Write tables, figures and the page of a profile.

    Args:
        results: The results.
        out: The folder to write into; made if absent.
        command: The command that made the results, printed on the page.
        names: Which of `table`, `scatter`, `noise` to write; all by default.

    Returns:
        The Markdown tables.

    Raises:
        SamattrError: for an unknown name, or a folder that cannot be written.
    """
    check_names(names)
    try:
        out.mkdir(parents=True, exist_ok=True)
        origin = provenance(results, command)
        (out / "provenance.json").write_text(json.dumps(origin, indent=1) + "\n")
        results.tidy().to_parquet(out / "results.parquet", index=False)
        sections = []
        for name, writer in _writers().items():
            if not names or name in names:
                sections += writer(results, out)
        if not names:
            (out / "report.md").write_text("\n\n".join([_heading(results, command), *sections]) + "\n")
    except OSError as error:
        raise SamattrError(
            f"{out} could not be written ({error.strerror}): choose another folder with --out"
        ) from error
    return table.to_markdown(table.compute(results))


def check_names(names: list[str] | None) -> None:
    """Refuse a table or figure that there is not.

    Raises:
        SamattrError: naming the nearest one.
    """
    for name in names or []:
        if name not in _writers():
            raise unknown_name("table or figure", name, _writers())


def save_figure(figure: Figure, frame: pd.DataFrame, out: Path, name: str) -> None:
    """Save a figure as PDF and PNG, and the data that it shows as CSV."""
    figure.savefig(out / f"{name}.pdf", metadata={"CreationDate": None})
    figure.savefig(out / f"{name}.png", metadata={"Software": None})
    plt.close(figure)
    frame.to_csv(out / f"{name}.csv", index=False, float_format="%.6g")


def caption(results: Results) -> str:
    """What the table's numbers are over, and what its columns mean."""
    first = results.validations[0]
    return (
        f"Agreement with exact same-run leave-one-out retraining of {first.n_removed} of n = {first.n_train} training "
        f"points, {first.n_query} queries; means over {len(results.profile.seeds)} seeds. Spearman and Pearson: means "
        "over queries of the correlation over removed points, with a bootstrap 95 % interval over seeds and queries. "
        "Slope: truth regressed on score (1 is right in size). Δ: parameter change, over at most "
        f"{N_CHANGES} removed points. Noise AUC: wrong labels found by lowest Influence Score on the validation set. "
        "Runtime and memory: scores of all training points and queries; for exact LOO, all retrainings and the most "
        "that one chunk of them took. Damping and curvature were chosen on held-out queries."
    )


def _writers() -> dict[str, Callable[[Results, Path], list[str]]]:
    return {"table": _write_table, "scatter": _write_scatter, "noise": _write_noise}


def _heading(results: Results, command: str) -> str:
    origin = provenance(results, command)
    lines = [
        f"# samattr, profile {results.profile.name}",
        "",
        f"Made by `{command}`, seeds {', '.join(map(str, origin['seeds']))}. One number alone: `{origin['one_cell']}`.",
        "",
    ]
    for environment in origin["environments"]:
        accelerator = environment["gpu"] or "no GPU"
        lines.append(
            f"Hardware and versions: {environment['cpu']}, {environment['cores']} cores, {accelerator}, "
            f"{environment['system']}; Python {environment['python']}, torch {environment['torch']}, "
            f"NumPy {environment['numpy']}, samattr {environment['samattr']}."
        )
    if results.failures:
        lines += ["", "Missing:", "", *(f"- {failure}" for failure in results.failures)]
    return "\n".join(lines)


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
    removed, seeds = results.validations[0].n_removed, len(results.profile.seeds)
    sections.append(
        "Change of the mean query's loss when one training point is removed: predicted (each panel its own scale) "
        f"against exact retraining; {removed} points in each of {seeds} seeds. Dashed: a prediction of the right size."
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
