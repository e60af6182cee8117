"""The parts of the report that are read: overview, claims, figures, where it all comes from."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from reports.claims import UNTESTED, Tested, tested
from reports.committed import Page, read_rows
from reports.experiment import Measured
from reports.marks import footnote_of, marked_in, signed_table
from reports.page import MACHINE
from reports.trained import trained
from reports.verdicts import DOES_NOT_HOLD, HOLDS, IN_PART, UNDECIDED
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.precision import DEFAULT

MARKS = {HOLDS: "yes", IN_PART: "part", UNDECIDED: "open", DOES_NOT_HOLD: "no", UNTESTED: "untested"}
"""The class of a verdict, by which it is coloured; its word stands beside the colour."""


@dataclass(frozen=True)
class Table:
    """A table as it is shown.

    Attributes:
        name: What it is of, for who cannot see it.
        columns: Its headings.
        rows: Its cells, text.
    """

    name: str
    columns: list[str]
    rows: list[list[str]]

    @classmethod
    def of(cls, name: str, frame: pd.DataFrame) -> "Table":
        """The table of a frame of text."""
        return cls(name, [str(column) for column in frame], frame.astype(str).to_numpy().tolist())


@dataclass(frozen=True)
class ClaimShown:
    """A claim of the paper as it is shown.

    Attributes:
        says: What it says.
        paper: The paper's numbers.
        verdict: What was found, in words.
        figure: The experiment whose figure shows it.
        headings: Of its numbers.
        rows: One a workload and what else numbers are of: workload, that, verdict, its class, numbers.
    """

    says: str
    paper: str
    verdict: str
    figure: str
    headings: list[str]
    rows: list[tuple[str, str, str, str, list[str]]]


@dataclass(frozen=True)
class FigureShown:
    """A figure as it is shown.

    Attributes:
        name: Its experiment's, or its file's.
        title: Its heading.
        answer: The sentence that its numbers support, if there is one.
        caption: What it shows.
        picture: Its file.
        data: Its rows.
        table: Its table, or None.
        command: What makes it again.
        minutes: How long its cells took, or None.
        disturbed: Whether other programs used the machine meanwhile.
        failures: What is missing of it.
    """

    name: str
    title: str
    answer: str | None
    caption: str
    picture: Path
    data: Path
    table: Table | None
    command: str
    minutes: float | None
    disturbed: bool
    failures: Sequence[str]


def claims(page: Page) -> list[ClaimShown]:
    """The claims that a page tests."""
    return [_claim(each) for each in tested(page.measured, page.values)]


def _claim(claim: Tested) -> ClaimShown:
    numbers = claim.finding.numbers
    headings = list(dict.fromkeys(heading for cells in numbers.values() for heading in cells))
    rows = [
        (workload, of, word, MARKS[word], [cells.get(heading, "") for heading in headings])
        for (workload, of), cells in numbers.items()
        for word in [claim.verdicts[workload]]
    ]
    return ClaimShown(claim.says, claim.paper, claim.verdict, claim.part.experiment.name, headings, rows)


def at_a_glance(found: Sequence[ClaimShown]) -> list[tuple[str, str, int]]:
    """How often each verdict was found, over claims and workloads: the word, its class, the count."""
    counts = Counter(word for claim in found for word in {row[0]: row[2] for row in claim.rows}.values())
    return [(word, mark, counts[word]) for word, mark in MARKS.items() if counts[word]]


def networks(page: Page) -> Table:
    """What training made of every network that the page looks at."""
    frames = [part.frame for part in page.measured if "trained_accuracy" in part.frame]
    said: dict[str, str] = {}
    for frame in frames:
        said |= {name: words for name, words in trained(frame).items() if name not in said}
    sizes = {
        str(name): f"{int(part['n_train'].iloc[0]):,}"
        for frame in frames
        for name, part in frame.groupby("workload", sort=False)
    }
    facts = page.folder / "table.csv"
    if facts.exists():
        table = read_rows(facts)
        for row in table.drop_duplicates("workload").to_dict("records"):
            sizes.setdefault(str(row["workload"]), f"{int(row['n_train']):,}")
            said.setdefault(str(row["workload"]), str(row.get("network", "")))
    rows = [[name, sizes[name], said.get(name, "")] for name in sizes]
    return Table("the networks that this page looks at", ["Workload", "Training points", "Trained"], rows)


def figures(page: Page) -> list[FigureShown]:
    """Every figure of the page, with its data and the command that makes it."""
    found = [
        FigureShown(
            path.stem,
            _HEADLINE[path.stem.split("-")[0]].format(path.stem.partition("-")[2]),
            None,
            "",
            path.with_suffix(".png"),
            path,
            None,
            page.job.command(path.stem.split("-")[0]),
            None,
            False,
            (),
        )
        for pattern in ("scatter-*.csv", "noise.csv")
        for path in sorted(page.folder.glob(pattern))
    ]
    for part in page.measured:
        if (page.folder / f"{part.experiment.name}.png").exists():  # else the page says why it has none
            with suppress(SamattrError), part.drawing():
                found.append(_of_experiment(part, page.folder))
    return found


def _of_experiment(part: Measured, folder: Path) -> FigureShown:
    experiment, frame, marked = part.experiment, part.frame, marked_in(part.frame)
    return FigureShown(
        experiment.name,
        experiment.title,
        experiment.answer(frame) if experiment.answer else None,
        " ".join(filter(None, [part.caption, footnote_of(marked)])),
        folder / f"{experiment.name}.png",
        folder / f"{experiment.name}.csv",
        Table.of(experiment.title, signed_table(experiment.tabulate(frame), marked)),
        part.command,
        part.seconds / 60,
        part.disturbed,
        part.failures,
    )


_HEADLINE = {
    "scatter": "Predicted against exact effects on the mean query: {}",
    "noise": "Wrong labels found by inspecting the lowest Influence Scores first",
}


def machines(page: Page) -> list[str]:
    """Hardware and versions, each once."""
    said = [
        ", ".join(f"{name} {value}" for name in MACHINE if (value := {"precision": DEFAULT, **each}.get(name)))
        for each in page.origin["environments"]
    ]
    return list(dict.fromkeys(said))


def missing(page: Page) -> list[str]:
    """What the page lacks, and what was marked when it was made."""
    parts: dict[str, Any] = page.origin["experiments"]
    return [*page.origin.get("failures", []), *(line for part in parts.values() for line in part.get("failures", []))]
