"""Experiments: one table or figure each, measured cell by cell, every cell found again on disk.

An experiment is a module of `reports.experiments` that ends in `EXPERIMENT = Experiment(...)`. Its `measure` turns one
workload, at one seed, into tidy rows; `compute` gathers the cells of a profile into one frame; `draw` makes the figure
and `tabulate` the table of it, from the frame alone.

What a `measure` computes lives in `samattr_ref` and `baselines`: a cell is stored under the hash of these, of its
workload and of `measure` itself, so that a figure can be drawn anew without measuring anew.
"""

import importlib
import inspect
import os
import pkgutil
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import psutil
from matplotlib.figure import Figure
from tqdm import tqdm

from baselines.studies.cases import Case
from baselines.validation import workload_digest
from samattr_ref.catalogue import load_workload
from samattr_ref.support import store
from samattr_ref.support.device import device
from samattr_ref.support.environment import environment
from samattr_ref.support.errors import SamattrError, unknown_name
from samattr_ref.support.seeds import json_digest
from samattr_ref.workload import Workload

WORKER_BYTES = 3 * 2**30
"""Free memory that a worker process must find."""

SEEDS = (0, 1, 2)


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
        measure = _text_of(get_experiment(self.experiment).measure)
        return store.folder("cells", json_digest([measure, workload_digest(workload), dict(self.case.arguments)]))

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


@cache
def experiments() -> dict[str, Experiment]:
    """All experiments by name, in the order of their modules' names."""
    package = importlib.import_module("reports.experiments")
    modules = [importlib.import_module(f"{package.__name__}.{m.name}") for m in pkgutil.iter_modules(package.__path__)]
    found = [module.EXPERIMENT for module in modules if hasattr(module, "EXPERIMENT")]
    return {experiment.name: experiment for experiment in found}


def get_experiment(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        SamattrError: if there is none.
    """
    if name not in experiments():
        raise unknown_name("experiment", name, experiments())
    return experiments()[name]


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


def _text_of(measure: Callable[..., Any]) -> list[Any]:
    """What decides the rows of a measure beside `samattr_ref` and `baselines`: source, constants, own helpers."""
    text: list[Any] = [inspect.getsource(measure)]
    for name, value in sorted(inspect.getclosurevars(measure).globals.items()):
        if inspect.isfunction(value) and value.__module__ == measure.__module__:
            text.append(_text_of(value))
        elif isinstance(value, int | float | str | tuple | list | dict):
            text.append([name, value])
    return text


def _workers() -> int:
    if device() != "cpu":
        return 1
    return max(1, min(os.cpu_count() or 1, psutil.virtual_memory().available // WORKER_BYTES))
