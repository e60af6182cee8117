"""`samattr plan`: what a piece of work takes, before it is begun: device-hours, wall clock, disk and memory."""

import json
import shlex
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reports.cli.asked import job_of, pairs_of, workload_of
from reports.cli.options import (
    AskedOf,
    Count,
    EngineName,
    Fraction,
    JsonFlag,
    Measures,
    MemoryBytes,
    Names,
    Norm,
    OneWorkload,
    Options,
    ProfileName,
    Quiet,
    Rho,
    Runs,
    Seed,
    Seeds,
    Settings,
)
from reports.cli.output import App, show

if TYPE_CHECKING:
    from baselines.planner import Planner

app = App(no_args_is_help=True, rich_markup_mode=None)

Devices = Annotated[int, typer.Option(min=1, help="Workers that compute side by side, with one core or one GPU each.")]
MEBIBYTE = 2**20


@app.command("truth")
def plan_truth(
    workload: Annotated[str, typer.Argument(help="A workload's name, or package.module:attribute.")],
    seed: Seed = 0,
    rho: Rho = None,
    p: Norm = None,
    settings: Settings = None,
    engine: EngineName = None,
    fraction: Fraction = None,
    count: Count = 50,
    devices: Devices = 1,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
) -> None:
    """What `samattr truth` takes."""
    planner = _planner()
    planner.truth(workload_of(workload, seed, rho, p, settings), fraction, count, engine)
    _print(planner, devices, as_json)


@app.command("validate")
def plan_validation(
    method: Annotated[str, typer.Argument(help="A method's name, or package.module:function.")],
    workload: Annotated[str, typer.Option(help="A workload's name, or package.module:attribute.")] = "digits-logreg",
    seed: Seed = 0,
    options: Options = None,
    rho: Rho = None,
    p: Norm = None,
    settings: Settings = None,
    memory_bytes: MemoryBytes = None,
    runs: Runs = 1,
    functional: AskedOf = "loss",
    measures: Measures = None,
    devices: Devices = 1,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
) -> None:
    """What `samattr validate` takes."""
    planner = _planner()
    chosen = workload_of(workload, seed, rho, p, settings)
    planner.validation(method, chosen, pairs_of(options), memory_bytes, runs, functional, measures or ())
    planner.growth(method, chosen)
    _print(planner, devices, as_json)


@app.command("reproduce")
def plan_job(
    names: Names = None,
    profile: ProfileName = "quick",
    workload: OneWorkload = None,
    settings: Settings = None,
    seeds: Seeds = None,
    devices: Devices = 1,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
) -> None:
    """What `samattr reproduce` takes."""
    from reports import job_costs

    planner = _planner()
    job_costs.plan_job(job_of(names, profile, workload, settings, seeds), planner)
    _print(planner, devices, as_json)


def _planner() -> "Planner":
    """A planner that begins with the start of the program, as whatever is planned will."""
    from baselines.costing import Stage
    from baselines.planner import Planner

    return Planner([Stage("start of the program", [time.process_time()])])


def _print(planner: "Planner", devices: int, as_json: bool) -> None:
    said = described(planner, devices)
    show(json.dumps(said, indent=1) if as_json else rendered(said))


def described(planner: "Planner", devices: int) -> dict[str, Any]:
    """A plan on so many devices, as JSON has it: seconds and bytes."""
    from samattr_ref.support.environment import environment

    found = planner.estimate()
    return {
        "command": shlex.join(["samattr", *(word for word in sys.argv[1:] if word not in ("--json", "--quiet"))]),
        "stages": [
            {
                "work": stage.work,
                "method": stage.method,
                "tasks": len(stage.tasks),
                "seconds": sum(stage.tasks),
                "source": stage.source,
                "shared": stage.shared,
                "disk_bytes": stage.disk_bytes,
            }
            for stage in found.stages
        ],
        "unknown": found.unknown,
        "notes": found.notes,
        "device": found.device,
        "devices": devices,
        "device_seconds": found.device_seconds,
        "wall_seconds": found.wall_seconds(devices),
        "disk_bytes": found.disk_bytes,
        "memory_bytes": found.memory_bytes,
        "load": found.load,
        "environment": environment(),
    }


def rendered(said: dict[str, Any]) -> str:
    """A plan as Markdown, from what `described` says: a table, the totals, and what is to be known of them."""
    import pandas as pd

    from reports.markdown import table
    from samattr_ref.support.timing import DISTURBED

    stages = pd.DataFrame(said["stages"])
    stages = stages.drop(columns="method").groupby(["work", "source", "shared"], as_index=False, sort=False).sum()
    shown = pd.DataFrame(
        {
            "work": stages["work"],
            "tasks": [str(tasks) if tasks else "–" for tasks in stages["tasks"]],
            "a task": [duration(s / n) if n else "–" for s, n in zip(stages["seconds"], stages["tasks"], strict=True)],
            "device-hours": [figures(seconds / 3600) for seconds in stages["seconds"]],
            "MiB": [figures(size / MEBIBYTE) if size else "–" for size in stages["disk_bytes"]],
            "by": ["all" if shared else "one" for shared in stages["shared"]],
            "from": stages["source"],
        }
    )
    align = ["left", "right", "right", "right", "right", "left", "left"]
    hours, mebibytes = said["device_seconds"] / 3600, said["disk_bytes"] / MEBIBYTE
    wall, count = duration(said["wall_seconds"]), f"{said['devices']} device{'s' if said['devices'] > 1 else ''}"
    lines = [
        f"In all {figures(hours)} device-hours and {figures(mebibytes)} MiB of disk; {wall} of wall clock on "
        f"{count}, each {said['device']}, as fast as this one and waiting for nothing but the end of a row; "
        f"{figures(said['memory_bytes'] / 2**30)} GiB of memory a process.",
        *(f"Not counted: {line}." for line in said["unknown"]),
        *said["notes"],
    ]
    if said["load"] > DISTURBED:
        lines.append(
            f"Other programs took {said['load']:.0%} of the processor from this plan. Its seconds are of computing, as "
            "on a machine that does nothing else."
        )
    return "\n\n".join([table(shown, align), *lines])


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(0.2), duration(75), duration(3000), duration(90000)
    ('0.2 s', '75 s', '50 min', '25 h')
    """
    unit, size = ("s", 1) if seconds < 120 else ("min", 60) if seconds < 7200 else ("h", 3600)
    return f"{figures(seconds / size)} {unit}"


def figures(value: float) -> str:
    """Two figures of a number, or all that are before its point.

    >>> figures(0.00272), figures(4.24), figures(1234.6)
    ('0.0027', '4.2', '1,235')
    """
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
