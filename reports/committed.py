"""A page that is kept as files, drawn again from its own rows: nothing is trained and nothing else is on disk."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from baselines.studies.profiles import Profile, get_profile
from reports.experiment import Measured, experiments
from reports.job import SEPARATOR, Job
from reports.marks import marked_in
from reports.page import read_values, write, write_experiment, write_noise, write_page, write_scatter, write_table
from reports.table import summarised
from samattr_ref.support.errors import SamattrError, first_line, unknown_name


@dataclass(frozen=True)
class Page:
    """A page as its files have it.

    Attributes:
        folder: Where they lie, named as the profile, or as a job that differs from it, see `reports.job.folder`.
        job: The job that it is of: all of it.
        origin: Where its numbers come from: `command`, `environments`, `experiments`, `failures`.
        measured: Its experiments.
        values: What each seed's validations found, as `Results.tidy` has it, or None.
    """

    folder: Path
    job: Job
    origin: dict[str, Any]
    measured: list[Measured]
    values: pd.DataFrame | None


def read_page(folder: Path, names: Sequence[str] = ()) -> Page:
    """Read a page from its files.

    Args:
        folder: The folder of a page.
        names: Experiments; none for all.

    Raises:
        SamattrError: for a folder that holds no page, a name that the page does not have, or a damaged file.
    """
    try:
        origin = json.loads((folder / "provenance.json").read_text())
    except (OSError, ValueError) as error:
        raise SamattrError(
            f"{folder} holds no page ({first_line(error)}): give a folder with provenance.json"
        ) from error
    job = _job(get_profile(folder.resolve().name.partition(SEPARATOR)[0]), origin)
    for name in names:
        if name not in origin["experiments"]:
            raise unknown_name(f"experiment of {folder}", name, origin["experiments"])
    measured = [_measured(folder, name, origin) for name in experiments() if name in (names or origin["experiments"])]
    return Page(folder, job, origin, measured, read_values(folder))


def _job(profile: Profile, origin: dict[str, Any]) -> Job:
    """The job that a page is of; pages of before jobs had folders of their own are those of profiles."""
    if "workload" not in origin:
        return Job(profile)
    return Job(replace(profile, seeds=tuple(origin["seeds"])), (), origin["workload"], origin["settings"])


def redraw(kept: Path, out: Path, names: Sequence[str] = ()) -> list[str]:
    """Draw a kept page again, from the rows beside its figures and what it says of where they came from.

    Args:
        kept: The folder of a page.
        out: The folder to write into; the page's other files are copied.
        names: Experiments; none for all, with the figures of the profile's workloads.

    Returns:
        What was drawn.

    Raises:
        SamattrError: for a folder that holds no page, or a name that the page does not have.
    """
    page = read_page(kept, names)
    if kept.resolve() != out.resolve():
        shutil.copytree(kept, out, dirs_exist_ok=True)
    drawn = [] if names else _headline(out, page)
    done = tuple(part.experiment.name for part in page.measured)
    if page.measured and (out / "sections.json").exists():
        write(replace(page.job, names=done), None, page.measured, out)
    else:  # a page of before its sections were kept: its text stays as it is
        for part in page.measured:
            write_experiment(part, out)
    return [*drawn, *done]


def _measured(kept: Path, name: str, origin: dict[str, Any]) -> Measured:
    """An experiment of the page from its rows."""
    part = origin["experiments"][name]
    return Measured(
        experiments()[name],
        read_rows(kept / f"{name}.csv"),
        60 * part["minutes"],
        part.get("environments", origin["environments"]),
        part.get("failures", []),
        part["command"],
        part["cells"],
        part.get("load"),
    )


def read_rows(path: Path) -> pd.DataFrame:
    """The rows of a CSV file of a page; text that is empty stays text.

    Raises:
        SamattrError: for a file that cannot be read.
    """
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise SamattrError(f"{path} cannot be read ({first_line(error)}): fetch the page again") from error
    return frame.assign(how=frame["how"].astype(object).fillna("")) if "how" in frame else frame


def _headline(out: Path, page: Page) -> list[str]:
    """The figures and the table of validations, from their rows and from what each seed's found."""
    marked = {} if page.values is None else marked_in(page.values)
    scatters = {path.stem.removeprefix("scatter-"): read_rows(path) for path in sorted(out.glob("scatter-*.csv"))}
    drawn = [f"scatter-{workload}" for workload in scatters]
    sections: dict[str, str] = {}
    if scatters:
        places = {workload: place for place, workload in enumerate(page.job.profile.workloads)}
        ordered = sorted(scatters, key=lambda workload: places.get(workload, len(places)))
        sections["scatter"] = write_scatter({workload: scatters[workload] for workload in ordered}, marked, out)
    if (out / "noise.csv").exists():
        sections["noise"] = write_noise(read_rows(out / "noise.csv"), marked, out)
        drawn.insert(0, "noise")
    if page.values is not None:
        sections["table"] = write_table(summarised(page.values, read_rows(out / "table.csv")), out)
        drawn.append("table")
    if sections:
        write_page(replace(page.job, names=tuple(sections)), sections, {"environments": [], "experiments": {}}, out)
    return drawn
