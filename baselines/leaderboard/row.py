"""A row of the leaderboard: how one method did on one workload, with all that it takes to check and to make it again.

A row is a JSON file, `WORKLOAD/METHOD.json`. It holds what the method scored on every query of every seed, so that two
rows can be compared query by query, and says which ground truth that was: rows of the same truths are comparable.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from samattr_ref.support.errors import SamattrError, first_line
from samattr_ref.support.names import check_name
from samattr_ref.support.store import replace_file

VERSION = 1
"""Of what a row holds."""

COMPARED = "spearman"
"""The metric that rows are ranked by: per query, with exact leave-one-out."""


@dataclass(frozen=True)
class Seed:
    """How a method did on one seed of a workload.

    Attributes:
        seed: The workload's seed.
        recipe: The digest of the workload at this seed: points, sets, network, recipe.
        truth: The digest of the ground truth that comes with the project.
        options: The method's options.
        per_query: By metric, its value on every query.
        metrics: The other metrics by name; None where the method does not define one.
        runtime_s: Seconds for the scores of all points and queries.
        trainings: These over the seconds of one plain training beside them.
        load: Of both, see `samattr_ref.support.timing`; None in a row of before it was measured.
        disturbed: Whether other programs took too much of the processor meanwhile for them to be the method's.
        peak_memory_bytes: See `baselines.measure.Cost`.
        marks: What must be known before the numbers are believed, see `samattr_ref.marks`; None in a row of before it
            was kept.
    """

    seed: int
    recipe: str
    truth: str
    options: dict[str, Any]
    per_query: dict[str, list[float]]
    metrics: dict[str, float | None]
    runtime_s: float
    trainings: float
    peak_memory_bytes: int
    load: float | None = None
    disturbed: bool | None = None
    marks: list[str] | None = None


@dataclass(frozen=True)
class Row:
    """One method on one workload.

    Attributes:
        method: The method's name; of a method of one's own, what it is to be called.
        workload: The workload's name.
        tuned: Whether options were chosen on held-out queries; else they are the method's defaults, or what the
            experiments take on large networks.
        summary: What the method computes, in one line.
        source: Where it comes from: a paper, a repository.
        seeds: What came of each seed.
        environment: Versions and hardware.
        version: Of what a row holds, see `VERSION`.
    """

    method: str
    workload: str
    tuned: bool
    summary: str
    source: str
    seeds: list[Seed]
    environment: dict[str, Any]
    version: int = VERSION

    @property
    def name(self) -> str:
        """What tells it apart among the rows of its workload."""
        return self.method if self.tuned else f"{self.method} (defaults)"

    @property
    def file(self) -> str:
        """Its file's name in the folder of its workload."""
        return f"{self.method}.json" if self.tuned else f"{self.method}-defaults.json"

    @property
    def truths(self) -> list[tuple[int, str, int]]:
        """The seeds, the truths that it is held against and their queries: rows of the same ones are comparable."""
        return [(one.seed, one.truth, len(one.per_query[COMPARED])) for one in self.seeds]

    def values(self, metric: str = COMPARED) -> list[list[float]]:
        """A metric's values on the queries of every seed."""
        return [one.per_query[metric] for one in self.seeds]


def write_row(row: Row, folder: Path) -> Path:
    """Write a row into a folder of rows, in place of one of its name.

    Raises:
        SamattrError: for scores that are not finite, or a folder that cannot be written.
    """
    check_row(row)
    path = folder / row.workload / row.file
    content = json.dumps(asdict(row), indent=1, allow_nan=False) + "\n"
    replace_file(path, content.encode())
    return path


def read_row(path: Path) -> Row:
    """Read a row.

    Raises:
        SamattrError: saying what is wrong with the file.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SamattrError(f"{path} is no row of the leaderboard: {first_line(error)}") from error
    try:
        seeds = [_made(Seed, one) for one in content.pop("seeds")]
        row: Row = _made(Row, content | {"seeds": seeds})
        check_row(row)
    except (KeyError, TypeError, AttributeError, SamattrError) as error:
        said = str(error) if isinstance(error, SamattrError) else first_line(error)
        raise SamattrError(f"{path} is no row of the leaderboard: {said}") from error
    if (path.parent.name, path.name) != (row.workload, row.file):
        raise SamattrError(f"{path} holds the row {row.workload}/{row.file}: name it so")
    return row


def read_rows(folder: Path, workload: str | None = None) -> list[Row]:
    """All rows of a folder, or those of one workload, by name."""
    return [read_row(path) for path in sorted(folder.glob(f"{workload or '*'}/*.json"))]


def check_row(row: Row) -> None:
    """Refuse a row that does not hold what a row is to hold.

    Raises:
        SamattrError: saying what is wrong.
    """
    if row.version != VERSION:
        raise SamattrError(f"it is of version {row.version}, not {VERSION}: make it again")
    check_name("a method", row.method)
    check_name("a workload", row.workload)
    if not row.seeds or len({one.seed for one in row.seeds}) < len(row.seeds):
        raise SamattrError("it has no seed, or one twice")
    for one in row.seeds:
        if COMPARED not in one.per_query:
            raise SamattrError(f"seed {one.seed} has no '{COMPARED}' of each query")
        if len({len(values) for values in one.per_query.values()}) != 1 or not one.per_query[COMPARED]:
            raise SamattrError(f"the metrics of seed {one.seed} are not of the same queries")
        for name, values in one.per_query.items():
            if not all(_is_number(value) and math.isfinite(value) for value in values):
                raise SamattrError(f"'{name}' of seed {one.seed} is not a finite number on every query")
        costs = one.runtime_s, one.trainings, one.peak_memory_bytes
        if not all(_is_number(value) and value >= 0 for value in costs):
            raise SamattrError(f"the costs of seed {one.seed} are not numbers of at least 0")
        if one.marks is not None and not (isinstance(one.marks, list) and all(isinstance(m, str) for m in one.marks)):
            raise SamattrError(f"the marks of seed {one.seed} are not a list of reasons in words")
        known = _is_share(one.load) and isinstance(one.disturbed, bool)
        if not known and (one.load, one.disturbed) != (None, None):
            raise SamattrError(f"seed {one.seed} has no load from 0 to 1, and whether that is 'disturbed'")


def same_truths(rows: Sequence[Row]) -> None:
    """Refuse to compare rows that were held against other ground truths.

    Raises:
        SamattrError: naming the first that differs.
    """
    for row in rows[1:]:
        if row.truths != rows[0].truths:
            raise SamattrError(
                f"the rows '{row.name}' and '{rows[0].name}' of {row.workload} are of other ground truths, seeds or "
                "queries: make one of them again"
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _made(kind: type, content: Mapping[str, Any]) -> Any:
    names = {field.name for field in fields(kind)}
    if unknown := sorted(set(content) - names):
        raise SamattrError(f"it has '{unknown[0]}', which no row has")
    return kind(**content)
