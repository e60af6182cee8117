"""Experiments: one table or figure each, measured cell by cell, every cell found again on disk.

An experiment is a module of `reports.experiments` that ends in `EXPERIMENT = Experiment(...)`, or comes from another
package, by `register_experiment` or an entry point. Its `measure` turns one workload, at one seed, into tidy rows;
`gather` puts the cells of a profile into one frame; `draw` makes the figure and `tabulate` the table of it, from the
frame alone.

A cell is stored under the hash of its workload and of the source that its `measure` goes through, so that a figure can
be drawn anew without measuring anew.
"""

import importlib
import os
import pkgutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import psutil
from matplotlib.figure import Figure
from tqdm import tqdm

from baselines.keys import method_digest, metrics_digest, workload_digest
from baselines.studies.cases import Case
from samattr_ref.catalogue import load_workload
from samattr_ref.registry import methods
from samattr_ref.sam.variants import VARIANTS
from samattr_ref.support import store
from samattr_ref.support.device import device
from samattr_ref.support.environment import environment
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.fingerprint import fingerprint
from samattr_ref.support.registered import Registry, is_own
from samattr_ref.support.seeds import json_digest
from samattr_ref.support.source import reach
from samattr_ref.workload import Workload

WORKER_BYTES = 3 * 2**30
"""Free memory that a worker process must find."""

ALL_METHODS = (("samattr_ref.registry", "methods"), ("samattr_ref.registry", "METHODS"))
"""What a measure imports that asks for methods without naming them."""


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

    def cells(self, cases: Sequence[Case], seeds: Sequence[int]) -> list["Cell"]:
        """The cells of some cases: those of the first experiment with this `measure`, so that two may show the same."""
        owner = next((e.name for e in experiments().values() if e.measure is self.measure), self.name)
        return [Cell(owner, case, seed) for case in cases for seed in seeds]


@dataclass(frozen=True)
class Cell:
    """One case of an experiment at one seed."""

    experiment: str
    case: Case
    seed: int

    def __hash__(self) -> int:
        return hash(str(self))

    def workload(self) -> Workload:
        """The workload that is measured."""
        return load_workload(self.case.workload, self.seed).override(**self.case.settings)

    def path(self, workload: Workload) -> Path:
        """Where its rows are stored."""
        arguments = dict(self.case.arguments)
        code = _code(get_experiment(self.experiment).measure, workload, arguments)
        return store.folder("cells", json_digest([workload_digest(workload), arguments, code]))

    def find(self) -> tuple[dict[str, Any], pd.DataFrame] | None:
        """What is stored of it, or None; measures nothing."""
        stored = store.load(self.path(self.workload()), "cell")
        if stored is None:
            return None
        meta = stored[0]
        return meta, pd.DataFrame(meta.pop("columns"))

    def __str__(self) -> str:
        settings = "".join(f" {name}={value}" for name, value in {**self.case.settings, **self.case.arguments}.items())
        return f"{self.experiment} on {self.case.workload}{settings}, seed {self.seed}"


@dataclass(frozen=True)
class Measured:
    """An experiment's rows, and what they cost.

    Attributes:
        experiment: The experiment.
        frame: All rows; `workload`, `seed` and `n_train` first.
        seconds: Measuring time, summed over cells.
        environments: Versions and hardware that the cells were measured with.
        failures: One line a cell that is missing.
        command: What makes it again.
        cells: Cells that were measured.
    """

    experiment: Experiment
    frame: pd.DataFrame
    seconds: float
    environments: list[dict[str, Any]]
    failures: list[str]
    command: str
    cells: int


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


def make(cells: Sequence[Cell], jobs: int | None = None) -> dict[Cell, str]:
    """Measure the cells that are not on disk yet: side by side in processes of one thread, or alone where timed.

    A cell that fails leaves nothing on disk and stops no other.

    Args:
        cells: The cells.
        jobs: Processes; by default one for each core that has `WORKER_BYTES` of free memory, and one with CUDA.

    Returns:
        Why cells failed, in one line each.
    """
    cells = list(dict.fromkeys(cells))
    timed = [cell for cell in cells if get_experiment(cell.experiment).timed]
    others = [cell for cell in cells if not get_experiment(cell.experiment).timed]
    jobs = jobs or _workers()
    reasons: dict[Cell, str] = {}
    with tqdm(total=len(cells), desc="experiments", disable=None, leave=False) as bar:

        def note(outcome: tuple[Cell, str | None]) -> None:
            cell, reason = outcome
            if reason is not None:
                reasons[cell] = reason
            bar.update()

        if jobs > 1 and len(others) > 1:
            # loky renews a worker that has grown: nothing is lost by it
            warnings.filterwarnings("ignore", message="A worker stopped while some jobs", category=UserWarning)
            with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
                parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)
                for outcome in parallel(joblib.delayed(_measure)(cell) for cell in others):
                    note(outcome)
            others = []
        for cell in [*others, *timed]:
            note(_measure(cell))
    return reasons


def gather(name: str, cells: Sequence[Cell], command: str, reasons: Mapping[Cell, str] | None = None) -> Measured:
    """The rows of an experiment from disk; measures nothing.

    Args:
        name: The experiment.
        cells: Its cells.
        command: What makes it again.
        reasons: Why cells are not there, from `make`.
    """
    frames: list[pd.DataFrame] = []
    environments: list[dict[str, Any]] = []
    failures, seconds = [], 0.0
    for cell in cells:
        try:
            found = cell.find()
        except SamattrError as error:
            found, reasons = None, {**(reasons or {}), cell: str(error)}
        if found is None:
            failures.append(f"{cell}: {(reasons or {}).get(cell, 'not measured yet')}")
            continue
        meta, frame = found
        frame.insert(0, "workload", cell.case.workload)
        frame.insert(1, "seed", cell.seed)
        frame.insert(2, "n_train", meta["n_train"])
        frames.append(frame)
        seconds += meta["seconds"]
        if meta["environment"] not in environments:
            environments.append(meta["environment"])
    frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    return Measured(get_experiment(name), frame, seconds, environments, failures, command, len(frames))


def _measure(cell: Cell) -> tuple[Cell, str | None]:
    """Measure and store one cell if it is not on disk; the cell, and why it failed."""
    warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=FutureWarning)  # torch's own, from jvp
    try:
        workload = cell.workload()
        path = cell.path(workload)
        if store.load(path, "cell") is not None:
            return cell, None
        began = time.perf_counter()
        frame = get_experiment(cell.experiment).measure(workload, **cell.case.arguments)
        meta = {
            "seconds": time.perf_counter() - began,
            "n_train": len(workload.splits.train),
            "environment": environment(),
            "columns": frame.to_dict(orient="list"),
        }
        store.save(path, "cell", meta)
    except SamattrError as error:
        return cell, str(error)
    return cell, None


def _code(measure: Callable[..., Any], workload: Workload, arguments: Mapping[str, Any]) -> list[str]:
    """Hashes of the code that a measure goes through: its own, of what is named in it, and of the workload's parts.

    Data and model with their settings: a measure may take them at others, of which the workload itself tells nothing.
    """
    ours = is_own(measure.__module__)
    named = set(_strings(arguments))
    every = not ours  # what another package names is not looked for
    if ours:
        found = reach(f"{measure.__module__}:{measure.__name__}")
        named |= found.strings
        every = not found.imports.isdisjoint(ALL_METHODS)
    chosen = [method_digest(method) for name, method in methods().items() if every or name in named]
    chosen += [fingerprint(variant).digest for name, variant in VARIANTS.items() if name in named or not ours]
    parts = fingerprint([workload.data, workload.model])
    code = found.digest if ours else fingerprint(measure).digest
    return [code, metrics_digest(), *chosen, *([] if parts.unkeyed else [parts.digest])]


def _strings(value: Any) -> Iterator[str]:
    """The strings in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from value
        yield from _strings(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)


def _workers() -> int:
    if device() != "cpu":
        return 1
    free: int = psutil.virtual_memory().available
    return max(1, min(os.cpu_count() or 1, free // WORKER_BYTES))
