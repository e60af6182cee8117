"""A job: which tables, figures and experiments, on which workloads and seeds; and the commands that make them again."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from baselines.studies.cases import Case
from baselines.studies.cells import Cell, make
from baselines.studies.profiles import PROFILES, Profile, Results, find_results, make_results
from reports.experiment import Experiment, Measured, experiments, gather
from samattr_ref.support.errors import SamattrError, unknown_name
from samattr_ref.support.seeds import json_digest

SEPARATOR = "+"
"""Between the words of a folder's name."""

LONGEST, DIGITS = 120, 8
"""Bytes of a folder's name, and digits of the hash that it ends in where words alone would not do."""

UNSAFE = re.compile(r"[^\w.,=[\]-]+")
"""What a folder's name is better without."""

HEADLINE = ("table", "scatter", "noise")
"""What is drawn from the validations of a profile's workloads."""


@dataclass(frozen=True)
class Job:
    """What to make or to draw.

    Attributes:
        profile: The profile, with the seeds that were asked for.
        names: Tables, figures and experiments; none for all that the profile has.
        workload: The workload to use in place of the profile's, or None.
        settings: Fields to override in every workload.
    """

    profile: Profile
    names: tuple[str, ...] = ()
    workload: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in (*HEADLINE, *experiments()):
                raise unknown_name("table, figure or experiment", name, [*HEADLINE, *experiments()])

    @property
    def reseeded(self) -> bool:
        """Whether other seeds than the profile's were asked for."""
        return self.profile.seeds != PROFILES.get(self.profile.name, self.profile).seeds

    @property
    def differences(self) -> list[str]:
        """What makes it another job than its profile, a word each: workload, settings by name, seeds."""
        words = [self.workload] if self.workload else []
        words += [f"{name}={_written(value)}" for name, value in sorted(self.settings.items())]
        if self.reseeded:
            words.append(f"seeds={','.join(map(str, self.profile.seeds))}")
        return words

    @property
    def varied(self) -> bool:
        """Whether it is something else than its profile, or a part of it, as it stands."""
        return bool(self.differences)

    @property
    def title(self) -> str:
        """What its page is called.

        >>> Job(PROFILES["quick"]).title, Job(PROFILES["quick"], (), "digits-mlp", {"rho": 0.2}).title
        ('quick', 'quick, but with digits-mlp, rho=0.2')
        """
        name = self.profile.name
        return " ".join(f"{name}, but with {', '.join(self.differences)}".split()) if self.varied else name

    @property
    def headline(self) -> tuple[str, ...]:
        """Which of `HEADLINE` it has."""
        if not self.profile.workloads and self.workload is None:
            return ()
        return HEADLINE if not self.names else tuple(name for name in HEADLINE if name in self.names)

    @property
    def experiments(self) -> list[Experiment]:
        """Its experiments."""
        if self.names:
            return [experiment for name, experiment in experiments().items() if name in self.names]
        return [experiment for experiment in experiments().values() if self.profile.name in experiment.cases]

    def cells(self, experiment: Experiment) -> list[Cell]:
        """The cells of an experiment, its own workloads replaced where another was asked for, and seeds where others.

        Raises:
            SamattrError: if the profile has no cases of it.
        """
        cases = experiment.cases.get(self.profile.name)
        if cases is None:
            has = ", ".join(experiment.cases)
            raise SamattrError(f"profile '{self.profile.name}' does not have '{experiment.name}': use --profile {has}")
        distinct: dict[str, Case] = {}
        for case in cases:
            settings = {**({} if self.workload else case.settings), **self.settings}
            seeds = None if self.workload or self.reseeded else case.seeds
            case = replace(case, workload=self.workload or case.workload, settings=settings, seeds=seeds)
            distinct.setdefault(str(case), case)
        return experiment.cells(list(distinct.values()), self.profile.seeds)

    def command(self, name: str | None = None) -> str:
        """The command that makes it, or one part of it, again."""
        words = ["samattr", "reproduce", *([name] if name else self.names), "--profile", self.profile.name]
        if self.workload:
            words += ["--workload", self.workload]
        for key, value in self.settings.items():
            words += ["--set", f"{key}={json.dumps(value)}"]
        if self.reseeded:
            words += ["--seeds", ",".join(map(str, self.profile.seeds))]
        return shlex.join(words)


def run(job: Job, jobs: int | None, compute: bool) -> tuple[Results | None, list[Measured]]:
    """Make a job's results, or find them on disk.

    Args:
        job: The job.
        jobs: Processes to measure with, see `baselines.studies.cells.make`.
        compute: Whether to make what is not on disk.

    Raises:
        SamattrError: for an experiment that the profile does not have, or a workload or a setting that there is not.
    """
    cells = {experiment.name: job.cells(experiment) for experiment in job.experiments}
    for cell in (cell for part in cells.values() for cell in part):
        cell.workload()  # a wrong name or setting is refused before anything is trained
    results = None
    if job.headline:
        profile = replace(job.profile, workloads=(job.workload,)) if job.workload else job.profile
        results = (make_results if compute else find_results)(profile, job.settings)
    reasons = make([cell for part in cells.values() for cell in part], jobs) if compute else {}
    measured = [gather(name, part, job.command(name), reasons) for name, part in cells.items()]
    return results, measured


def folder(job: Job, out: Path) -> Path:
    """The folder that a job writes into: its profile's, or one of its own that says how it differs from that.

    >>> folder(Job(PROFILES["quick"], (), "digits-mlp", {"rho": 0.2}), Path("out")).as_posix()
    'out/quick+digits-mlp+rho=0.2'
    """
    words = job.differences
    safe = [UNSAFE.sub("-", word) for word in words]
    if job.workload:
        safe[0] = UNSAFE.sub("-", job.workload.rsplit("/", 1)[-1])  # of a file its name, not where it lies
    name = SEPARATOR.join([job.profile.name, *safe])
    if safe != words or len(name.encode()) > LONGEST:  # then the name alone would not tell it from every other
        cut = name.encode()[: LONGEST - DIGITS - 1].decode(errors="ignore")
        name = f"{cut}{SEPARATOR}{json_digest(words)[:DIGITS]}"
    return out / name


def _written(value: Any) -> str:
    """A setting's value as the command line reads it: JSON, or text that is none.

    >>> _written(0.2), _written("relu"), _written("0.2"), _written((8, 16)), _written(None)
    ('0.2', 'relu', '"0.2"', '[8,16]', 'null')
    """
    text = json.dumps(value, separators=(",", ":"), default=str)
    if not isinstance(value, str):
        return text
    try:
        json.loads(value)
    except ValueError:
        return value
    return text


def seeds_of(text: str | None, default: Sequence[int]) -> tuple[int, ...]:
    """Seeds from a comma-separated list.

    Raises:
        SamattrError: if it is not one of whole numbers >= 0.

    >>> seeds_of("0,1,4", (0,))
    (0, 1, 4)
    """
    if text is None:
        return tuple(default)
    try:
        seeds = tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        seeds = ()
    if not seeds or min(seeds) < 0:
        raise SamattrError(f"seeds are whole numbers >= 0 with commas between them, not '{text}'")
    return seeds
