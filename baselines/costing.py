"""What some work takes: its parts, their tasks with the seconds of each, and how tasks are shared among devices."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

HERE, STORED, SHIPPED = "measured here", "in the store", "comes with samattr"
"""Where numbers come from; what is there already takes nothing."""


@dataclass(frozen=True)
class Stage:
    """A part of some work, which waits for the part before it.

    Attributes:
        work: What it is; parts of the same name are one row of a table.
        tasks: Device-seconds of what is left of it, task by task; none waits for another.
        source: Where these come from.
        shared: Whether devices share the tasks (`--executor ray`, and `--jobs` for cells of experiments); else one
            device does all of them.
        disk_bytes: Of the tensors that it leaves in the store; the JSON files beside them are small.
        method: The method that it is of, where it is of one.
    """

    work: str
    tasks: Sequence[float]
    source: str = HERE
    shared: bool = False
    disk_bytes: int = 0
    method: str = ""


@dataclass(frozen=True)
class Estimate:
    """What some work takes.

    Attributes:
        stages: Its parts.
        unknown: What is not counted, a line each.
        notes: What to know of the numbers, a line each.
        device: What a device is.
        memory_bytes: The most that a process holds: what this one held to time it, and states of a run that it did not.
        load: Of the processor while it was timed, see `baselines.probing.Probe`.
    """

    stages: Sequence[Stage]
    unknown: Sequence[str]
    notes: Sequence[str]
    device: str
    memory_bytes: int
    load: float

    @property
    def device_seconds(self) -> float:
        """Of all stages."""
        return sum(sum(stage.tasks) for stage in self.stages)

    @property
    def disk_bytes(self) -> int:
        """Of all stages."""
        return sum(stage.disk_bytes for stage in self.stages)

    def wall_seconds(self, devices: int) -> float:
        """Wall-clock seconds on so many devices.

        Each is taken to be as fast as the one that was timed, and to wait for nothing but the end of a stage. Starting
        workers and sending them the run is not in it.
        """
        return sum(makespan(stage.tasks, devices if stage.shared else 1) for stage in self.stages)


def makespan(tasks: Sequence[float], devices: int) -> float:
    """When the last of some tasks ends on so many devices, each free one taking the longest that is left.

    >>> makespan([3, 3, 2, 2, 2], 2), makespan([1.5], 8), makespan([], 2)
    (7.0, 1.5, 0.0)
    """
    ends = [0.0] * min(devices, len(tasks))
    for task in sorted(tasks, reverse=True):
        heapq.heappush(ends, heapq.heappop(ends) + task)
    return max(ends, default=0.0)
