"""What a job takes before it is begun: validations are planned, cells of experiments go by what a page says of them."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from baselines.costing import STORED, Stage
from baselines.planner import Planner
from baselines.studies.cells import Cell
from baselines.studies.cost_in_trainings import REPEATS
from baselines.studies.plain import train_plainly
from baselines.studies.profiles import get_profile
from baselines.unbegun import find_or_begin
from reports.committed import read_rows
from reports.experiment import Experiment
from reports.job import Job
from samattr_ref.support import store
from samattr_ref.support.errors import SamattrError

PAGES = Path(__file__).parent / "reference"
"""The committed pages: a clone has them, an installed package does not."""

MAKES_TRUTH = {"leave_one_out", "sweep"}
"""What a study's `measure` calls where it begins with exact effects of single points."""


def plan_job(job: Job, planner: Planner, pages: Path = PAGES) -> None:
    """Plan all that a job would make.

    Args:
        job: The job.
        planner: What plans.
        pages: The folder of the committed pages.

    Raises:
        SamattrError: if the profile does not have an experiment that was asked for.
    """
    if job.headline:
        profile = replace(job.profile, workloads=(job.workload,)) if job.workload else job.profile
        for workload, method in profile.cells(job.settings):
            try:
                planner.validation(method, workload)
            except SamattrError as error:
                planner.unknown.append(f"{method} on {workload.name}: {error}")
    pace: float | None = None
    planned: set[Cell] = set()
    for experiment in job.experiments:
        cells = [cell for cell in dict.fromkeys(job.cells(experiment)) if cell not in planned]
        planned.update(cells)
        left = [cell for cell in cells if not _is_stored(cell)]
        work = f"{experiment.name}, {len(left)} of {len(cells)} cells"
        each = None if job.workload or job.settings else _page_seconds(pages / job.profile.name, experiment, cells)
        if not left:
            planner.stages.append(Stage(work, [], STORED))
        elif each is None:
            _begin(experiment, left, planner, work)
        else:
            pace = pace or _pace(planner, pages)
            source = f"page {job.profile.name}, × {pace:.2f} for this machine"
            planner.stages.append(Stage(work, [each * pace] * len(left), source, not experiment.timed))


def _begin(experiment: Experiment, cells: Sequence[Cell], planner: Planner, work: str) -> None:
    """Plan what cells begin with: their networks, and the exact effects of single points where they ask for them."""
    planner.unknown.append(
        f"{work}: no page has their seconds, and only networks and truths that they begin with count"
    )
    calls = set(getattr(getattr(experiment.measure, "__code__", None), "co_names", ()))
    plan: Callable[..., object] = planner.truth if calls & MAKES_TRUTH else planner.training
    for cell in cells:
        try:
            plan(cell.workload())
        except SamattrError as error:
            planner.unknown.append(f"{cell}: {error}")


def _is_stored(cell: Cell) -> bool:
    """Whether a cell is in the store; its data are read for it only where there is any cell."""
    try:
        return (store.root() / "cells").exists() and store.exists(cell.path(cell.workload()), "cell")
    except SamattrError:
        return False


def _page_seconds(page: Path, experiment: Experiment, cells: Sequence[Cell]) -> float | None:
    """Seconds of a cell by a page, which may have been made of fewer or other workloads, seeds or cells; None by none.

    What the page took is shared by as many cells as a job of the workloads and seeds that its rows have would make.
    """
    try:
        found = json.loads((page / "provenance.json").read_text())["experiments"].get(experiment.name)
    except OSError:
        return None
    if not found:
        return None
    of_a_seed = {workload: count for (workload, _), count in Counter((c.case.workload, c.seed) for c in cells).items()}
    rows = read_rows(page / f"{experiment.name}.csv")
    shared = sum(of_a_seed.get(workload, 0) for workload, _ in rows.groupby(["workload", "seed"]).groups)
    return 60 * found["minutes"] / shared if shared else None


def _pace(planner: Planner, pages: Path) -> float:
    """Seconds here of one plain training, over those on the machine that made the pages: the least of each."""
    rows = read_rows(pages / "beyond" / "cost.csv")
    workload, _ = get_profile("quick").cells({})[-1]
    there = float(rows.loc[rows["workload"] == workload.name, "plain_seconds"].min())
    run, _ = find_or_begin(workload)
    return min(planner.probe.time(lambda: train_plainly(run)) for _ in range(REPEATS)) / there
