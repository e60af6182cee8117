"""Experiments: one table or figure each, of what a study measured.

An experiment is a module of `reports.experiments` that ends in `EXPERIMENT = Experiment(...)`, or comes from another
package, by `register_experiment` or an entry point. Its `measure` and `cases` are a study's (`baselines.studies`),
which measures cell by cell; `gather` puts the cells that are on disk into one frame; `draw` makes the figure and
`tabulate` the table of it, from the frame alone.
"""

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from baselines.studies.cases import Case
from baselines.studies.cells import Cell
from reports import load, machines
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.foreign import foreign
from samattr_ref.support.registered import Registry, is_own
from samattr_ref.support.timing import Timing


@dataclass(frozen=True)
class Experiment:
    """One table or figure.

    Attributes:
        name: Its name on the command line and of its files.
        title: Its heading.
        measure: `(workload, **arguments)` to the tidy rows of one cell.
        cases: The cases of each profile that has it.
        draw: The frame to the figure.
        caption: The frame to what the figure and table show: n, seeds, intervals, units.
        tabulate: The frame to the table as a reader sees it.
        answer: The frame to the one sentence that its numbers support, where it answers a question.
        timed: Whether a cell measures time or memory and must run with the machine to itself.
        seeds: How many of the profile's seeds it takes; None for all.
    """

    name: str
    title: str
    measure: Callable[..., pd.DataFrame]
    cases: Mapping[str, Sequence[Case]]
    draw: Callable[[pd.DataFrame], Figure]
    caption: Callable[[pd.DataFrame], str]
    tabulate: Callable[[pd.DataFrame], pd.DataFrame]
    answer: Callable[[pd.DataFrame], str] | None = None
    timed: bool = False
    seeds: int | None = None

    def cells(self, cases: Sequence[Case], seeds: Sequence[int]) -> list[Cell]:
        """The cells of some cases at some seeds, of those that have their own at theirs."""
        return [
            Cell(self.measure, replace(case, seeds=None), seed, self.name, self.timed)
            for case in cases
            for seed in (case.seeds or seeds)[: self.seeds]
        ]


@dataclass(frozen=True)
class Measured:
    """An experiment's rows, and what they cost.

    Attributes:
        experiment: The experiment.
        frame: All rows; `workload`, `seed` and `n_train` first, then what was measured; `trained_*` last, what
            training made of the workload's network (`baselines.quality.Quality`), and of what is timed `machine`.
        seconds: Measuring time, summed over cells.
        environments: Versions and hardware that the cells were measured with.
        failures: One line a cell that failed, and one for the cells of a workload and seed that nobody has measured.
        command: What makes it again.
        cells: Cells that were measured.
        load: The share of the processor that other programs took meanwhile; None where nobody knows.
    """

    experiment: Experiment
    frame: pd.DataFrame
    seconds: float
    environments: list[dict[str, Any]]
    failures: list[str]
    command: str
    cells: int
    load: float | None = None

    @property
    def disturbed(self) -> bool:
        """Whether other programs used the machine while it was measured: alone it takes less time."""
        return bool(Timing(self.seconds, self.load).disturbed)

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Within the block its figure, table and sentences are made: what another package's code raises is one line."""
        draw = self.experiment.draw
        if is_own(draw.__module__):
            yield
        else:
            with foreign(f"{self.experiment.name} cannot be drawn", draw):
                yield

    @property
    def caption(self) -> str:
        """What its figure and table show, with remarks where times were disturbed, or are of several machines."""
        remark = load.remark(self.frame) + machines.remark(self.frame) if self.experiment.timed else ""
        return self.experiment.caption(self.frame) + remark


def _admit(_name: str, found: Any, home: str) -> None:
    if not isinstance(found, Experiment):
        raise SamattrError(f"it is a {type(found).__name__}, not a reports.experiment.Experiment")
    EXPERIMENTS.add(found.name, found, home)


EXPERIMENTS: Registry[Experiment] = Registry("experiment", "samattr.experiments", _admit)
"""The experiments by name, once the project's own are there: see `experiments`."""


def register_experiment(experiment: Experiment) -> Experiment:
    """Register an experiment: it is then made by its name, and with the profiles that it has cases of."""
    _register_own()
    EXPERIMENTS.add(experiment.name, experiment, sys._getframe(1).f_globals["__name__"])
    return experiment


@cache
def _register_own() -> None:
    """Register the experiments of `reports.experiments`, in the order of their modules' names."""
    package = importlib.import_module("reports.experiments")
    for found in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{found.name}")
        if hasattr(module, "EXPERIMENT"):
            EXPERIMENTS.add(module.EXPERIMENT.name, module.EXPERIMENT, module.__name__)


def experiments() -> dict[str, Experiment]:
    """All experiments by name: the project's own, then those of installed packages."""
    _register_own()
    return dict(EXPERIMENTS)


def get_experiment(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        SamattrError: if there is none.
    """
    _register_own()
    return EXPERIMENTS.named(name)


def gather(name: str, cells: Sequence[Cell], command: str, reasons: Mapping[Cell, str] | None = None) -> Measured:
    """The rows of an experiment from disk; measures nothing.

    Args:
        name: The experiment.
        cells: Its cells.
        command: What makes it again.
        reasons: Why cells are not there, from `make`.
    """
    made = get_experiment(name)
    frames: list[pd.DataFrame] = []
    environments: list[dict[str, Any]] = []
    failures, took = [], Timing(0.0, 0.0)
    waiting: dict[tuple[str, int], list[Cell]] = {}
    for cell in cells:
        try:
            found = cell.find()
        except SamattrError as error:
            found, reasons = None, {**(reasons or {}), cell: str(error)}
        if found is None:
            if reason := (reasons or {}).get(cell):
                failures.append(f"{cell}: {reason}")
            else:
                waiting.setdefault((cell.case.workload, cell.seed), []).append(cell)
            continue
        meta, frame = found
        frame.insert(0, "workload", cell.case.workload)
        frame.insert(1, "seed", cell.seed)
        frame.insert(2, "n_train", meta["n_train"])
        for fact, value in meta.get("trained", {}).items():  # nor this
            frame[f"trained_{fact}"] = value
        if made.timed:
            frame["machine"] = machines.named(meta["environment"])
        frames.append(frame)
        took += Timing(meta["seconds"], meta.get("load"))  # cells of earlier versions do not say it
        if meta["environment"] not in environments:
            environments.append(meta["environment"])
    frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    failures += [f"{_named(alike)}: not measured yet" for alike in waiting.values()]
    return Measured(made, frame, took.seconds, environments, failures, command, len(frames), took.load)


def _named(alike: Sequence[Cell]) -> str:
    """Cells of one workload and seed in words."""
    first = alike[0]
    if len(alike) == 1:
        return str(first)
    return f"{first.name} on {first.case.workload}, seed {first.seed}, {len(alike)} cells"
