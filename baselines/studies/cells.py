"""Cells: what a study measures of one case at one seed, each found again on disk.

A cell is stored under the hash of its workload and of the source that its `measure` goes through.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import psutil

from baselines.executors import HERE, executor
from baselines.keys import method_digest, metrics_digest, workload_digest
from baselines.quality import quality
from baselines.studies.cases import Case
from samattr_ref.catalogue import load_workload
from samattr_ref.registry import methods
from samattr_ref.sam.variants import VARIANTS
from samattr_ref.support import store
from samattr_ref.support.device import device
from samattr_ref.support.environment import environment
from samattr_ref.support.errors import SamattrError, first_line
from samattr_ref.support.fingerprint import fingerprint
from samattr_ref.support.foreign import RAISED, place
from samattr_ref.support.orphans import end_with_parent
from samattr_ref.support.progress import silence, working
from samattr_ref.support.registered import is_own
from samattr_ref.support.seeds import json_digest
from samattr_ref.support.source import reach
from samattr_ref.support.timing import Stopwatch
from samattr_ref.training import train
from samattr_ref.workload import Workload

WORKER_BYTES = 3 * 2**30
"""Free memory that a worker process must find."""

ALL_METHODS = (("samattr_ref.registry", "methods"), ("samattr_ref.registry", "METHODS"))
"""What a measure imports that asks for methods without naming them."""


@dataclass(frozen=True)
class Cell:
    """What a study measures of one case at one seed.

    Attributes:
        measure: The study: `(workload, **arguments)` to tidy rows.
        case: The case.
        seed: The workload's seed.
        name: What it is measured for, in messages; cells that measure the same are equal whatever their names.
        timed: Whether it measures time or memory and must run with the machine to itself.
    """

    measure: Callable[..., pd.DataFrame]
    case: Case
    seed: int
    name: str = field(compare=False)
    timed: bool = field(default=False, compare=False)

    def __hash__(self) -> int:
        return hash((self.measure, repr(self.case), self.seed))

    def workload(self) -> Workload:
        """The workload that is measured."""
        return load_workload(self.case.workload, self.seed).override(**self.case.settings)

    def path(self, workload: Workload) -> Path:
        """Where its rows are stored."""
        arguments = dict(self.case.arguments)
        code = _code(self.measure, workload, arguments)
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
        return f"{self.name} on {self.case.workload}{settings}, seed {self.seed}"


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
    timed = [cell for cell in cells if cell.timed]
    others = [cell for cell in cells if not cell.timed]
    jobs = (jobs or _workers()) if executor() is HERE else 1
    reasons: dict[Cell, str] = {}
    with working("experiments", len(cells)) as progress:

        def note(outcome: tuple[Cell, str | None]) -> None:
            cell, reason = outcome
            if reason is not None:
                reasons[cell] = reason
            progress.update()

        if executor() is not HERE:
            known = {cell: _known(cell) for cell in others}
            waiting = [cell for cell, outcome in known.items() if outcome is None]
            for outcome in filter(None, known.values()):
                note(outcome)
            for place, found in executor().map(measured_cell, None, waiting):
                note(_kept(waiting[place], found))
            others = []
        elif jobs > 1 and len(others) > 1:
            # loky renews a worker that has grown: nothing is lost by it
            warnings.filterwarnings("ignore", message="A worker stopped while some jobs", category=UserWarning)
            ending = {"initializer": end_with_parent, "initargs": (os.getpid(),)}
            with joblib.parallel_config(backend="loky", inner_max_num_threads=1, **ending):
                parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)
                for outcome in parallel(joblib.delayed(_measure_silently)(cell) for cell in others):
                    note(outcome)
            others = []
        for cell in [*others, *timed]:
            note(_measure(cell))
    return reasons


def _measure_silently(cell: Cell) -> tuple[Cell, str | None]:
    """The same in a process of its own, whose progress is that of the whole."""
    silence()
    return _measure(cell)


def _measure(cell: Cell) -> tuple[Cell, str | None]:
    """Measure and store one cell if it is not on disk; the cell, and why it failed."""
    if (known := _known(cell)) is not None:
        return known
    with working(str(cell)):
        found = measured_cell(None, cell)
    return _kept(cell, found)


def _known(cell: Cell) -> tuple[Cell, str | None] | None:
    """The cell, and why it cannot be measured, where that is known or it is on disk; else None."""
    try:
        return (cell, None) if store.load(cell.path(cell.workload()), "cell") is not None else None
    except SamattrError as error:
        return cell, str(error)


def measured_cell(_: None, cell: Cell) -> dict[str, Any] | str:
    """What is stored of a cell, measured now; or why it failed, in one line."""
    try:
        workload = cell.workload()
        watch = Stopwatch()
        frame = cell.measure(workload, **cell.case.arguments)
        took = watch.read()
        return {
            "seconds": took.seconds,
            "load": took.load,
            "n_train": len(workload.splits.train),
            "trained": asdict(quality(train(workload))),
            "environment": environment(),
            "columns": frame.to_dict(orient="list"),
        }
    except SamattrError as error:
        return str(error)
    except RAISED as error:
        if is_own(cell.measure.__module__):
            raise
        return f"it raises {first_line(error)}{place(error, cell.measure)}"


def _kept(cell: Cell, found: dict[str, Any] | str) -> tuple[Cell, str | None]:
    """Store what was measured, or record why nothing was; the cell, and why it failed."""
    try:
        path = cell.path(cell.workload())
        if isinstance(found, str):
            store.record_failure(path, str(cell), found)
            return cell, found
        store.save(path, "cell", found)
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
    known = methods(optional=True)
    taken = [method for name, method in known.items() if name in named or (every and not method.optional)]
    chosen = [method_digest(method) for method in taken]
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
