"""A page that is kept as files, drawn again from its own rows: nothing is trained and nothing else is on disk."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.profiles import get_profile
from reports import noise, scatter
from reports.experiment import Measured, experiments
from reports.job import Job
from reports.page import VALUES, save_figure, write, write_experiment, write_page, write_table
from reports.table import summarised
from samattr_ref.support.errors import SamattrError, first_line, unknown_name

HEADLINE: dict[str, Callable[[pd.DataFrame], Figure]] = {"noise": noise.draw, "scatter-*": scatter.draw}
"""The figures of validations, by their files."""


def redraw(kept: Path, out: Path, names: Sequence[str] = ()) -> list[str]:
    """Draw a kept page again, from the rows beside its figures and what it says of where they came from.

    Args:
        kept: The folder of a page, named as its profile.
        out: The folder to write into; the page's other files are copied.
        names: Experiments; none for all, with the figures of the profile's workloads.

    Returns:
        What was drawn.

    Raises:
        SamattrError: for a folder that holds no page, or a name that the page does not have.
    """
    try:
        origin = json.loads((kept / "provenance.json").read_text())
    except (OSError, ValueError) as error:
        raise SamattrError(f"{kept} holds no page ({first_line(error)}): give a folder with provenance.json") from error
    profile = get_profile(kept.resolve().name)
    for name in names:
        if name not in origin["experiments"]:
            raise unknown_name(f"experiment of {kept}", name, origin["experiments"])
    measured = [_measured(kept, name, origin) for name in experiments() if name in (names or origin["experiments"])]
    if kept.resolve() != out.resolve():
        shutil.copytree(kept, out, dirs_exist_ok=True)
    drawn = [] if names else [*_headline(out), *_table(out, Job(profile, ("table",)))]
    done = tuple(part.experiment.name for part in measured)
    if measured and (out / "sections.json").exists():
        write(Job(profile, done), None, measured, out)
    else:  # a page of before its sections were kept: its text stays as it is
        for part in measured:
            write_experiment(part, out)
    return [*drawn, *done]


def _measured(kept: Path, name: str, origin: dict[str, Any]) -> Measured:
    """An experiment of the page from its rows."""
    part = origin["experiments"][name]
    return Measured(
        experiments()[name],
        _rows(kept / f"{name}.csv"),
        60 * part["minutes"],
        origin["environments"],
        part.get("failures", []),
        part["command"],
        part["cells"],
    )


def _rows(path: Path) -> pd.DataFrame:
    """The rows of a CSV file; text that is empty stays text."""
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise SamattrError(f"{path} cannot be read ({first_line(error)}): fetch the page again") from error
    return frame.assign(how=frame["how"].fillna("")) if "how" in frame else frame


def _table(out: Path, job: Job) -> list[str]:
    """The accuracy table, from what each seed's validations found."""
    if not (out / VALUES).exists():
        return []
    try:
        values = pd.read_parquet(out / VALUES)
    except (OSError, ValueError) as error:
        raise SamattrError(f"{out / VALUES} cannot be read ({first_line(error)}): fetch the page again") from error
    section = write_table(summarised(values, _rows(out / "table.csv")), out)
    write_page(job, {"table": section}, {"environments": [], "experiments": {}}, out)
    return ["table"]


def _headline(out: Path) -> list[str]:
    """The figures of validations, from their rows."""
    drawn = []
    for pattern, draw in HEADLINE.items():
        for path in sorted(out.glob(f"{pattern}.csv")):
            frame = _rows(path)
            save_figure(draw(frame), frame, out, path.stem)
            drawn.append(path.stem)
    return drawn
