"""Seconds of a call, and how much of the processor other programs took from it meanwhile.

A measured time says something of what was called only where nothing else ran, and nobody sees that on the number. So
every time that is published has a *load* beside it, the share of the processor time that the call could have used and
did not get. Of T threads on N cores of which other programs kept o busy it is

    max(0, T + o − N) / T,    o = (busy time of the cores − CPU time of this process and its children) / seconds:

where other cores were free, nothing was taken. The system counts busy time in ticks of 10 ms, too coarse for a short
call. Linux also says how long each thread of this process was ready and waited for a core; the load by that is
waited / (waited + CPU time). It alone counts for calls shorter than `RESOLVED`, and of others the larger of the two.

Measured with matrix products on 2 cores beside 1 to 9 busy programs: over a second and more the two agree within 0.02,
and a call takes at least 1 / (1 − load) times its own time: a tenth longer at `DISTURBED`, ten times at 0.9. With a GPU
it is the load of the processor that feeds it: what other programs do on the GPU itself is not seen.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil
import torch

from samattr_ref.support.device import device

DISTURBED = 0.1
"""A time with more load than this is not that of the call alone."""

RESOLVED = 0.1
"""Seconds that the system's own counters resolve."""

TRIES, SHORT_SECONDS = 3, 1.0
"""A disturbed call is made again up to so many times, while all of them took no longer than this together."""

TASKS = Path("/proc/self/task")
"""Where Linux tells of the threads of this process."""

T = TypeVar("T")
Timed = TypeVar("Timed", bound="Timing")


@dataclass(frozen=True)
class Timing:
    """How long something took.

    Attributes:
        seconds: Wall-clock seconds.
        load: The share of the processor time that it could have used and that others took, in [0, 1]; None where nobody
            knows, as of what earlier versions measured.
    """

    seconds: float
    load: float | None

    @property
    def disturbed(self) -> bool | None:
        """Whether other programs took too much of the processor for the seconds to be those of the call."""
        return None if self.load is None else self.load > DISTURBED

    def __add__(self, other: "Timing") -> "Timing":
        """One after the other: seconds add up, and the load is the mean over them."""
        total = self.seconds + other.seconds
        if self.load is None or other.load is None:
            return Timing(total, None)
        return Timing(total, (self.seconds * self.load + other.seconds * other.load) / total if total else 0.0)


@dataclass(frozen=True)
class Counters:
    """What the system has counted so far, in seconds.

    Attributes:
        wall: The time.
        own: CPU time of this process, the children that have ended included.
        busy: Time that the cores which this process may use were busy, for whomever; those that a machine beneath this
            one took away included.
        waited: Time that threads of this process were ready and waited for a core; None where the system does not say.
    """

    wall: float
    own: float
    busy: float
    waited: float | None


def counters() -> Counters:
    """What the system has counted until now."""
    cores, process = allowed_cores(), psutil.Process()
    every = psutil.cpu_times(percpu=True)
    busy = sum(
        getattr(every[core], kind, 0.0)
        for core in cores
        for kind in ("user", "nice", "system", "irq", "softirq", "steal")
    )
    ended = process.cpu_times()
    own = time.process_time() + ended.children_user + ended.children_system
    return Counters(time.perf_counter(), own, busy, _waited())


def allowed_cores() -> list[int]:
    """The cores that this process may use."""
    count = len(psutil.cpu_times(percpu=True))
    affinity = getattr(psutil.Process(), "cpu_affinity", None)  # which not every system has
    allowed = [core for core in affinity() if core < count] if affinity else []
    return allowed or list(range(count))


def children_seconds() -> float:
    """CPU time of the children of this process that live, and of theirs."""
    total = 0.0
    for child in psutil.Process().children(recursive=True):
        try:
            total += sum(child.cpu_times()[:4])  # its own, and its children's that have ended
        except psutil.Error:  # it has ended, or may not be looked at
            continue
    return total


def _waited() -> float | None:
    """Seconds that this process's threads waited for a core; of threads that have ended nothing is known any more."""
    nanoseconds = []
    for counted in TASKS.glob("*/schedstat"):
        try:
            nanoseconds.append(int(counted.read_text().split()[1]))
        except OSError:  # it has ended
            continue
    return sum(nanoseconds) / 1e9 if nanoseconds else None


def load_between(before: Counters, after: Counters, children: float, threads: int, cores: int) -> float:
    """The load between two readings, see the head of this module.

    Args:
        before: What was counted before.
        after: And after.
        children: CPU seconds of children that live, between the two.
        threads: Threads that the work may use.
        cores: Cores that it may use.
    """
    seconds, own = after.wall - before.wall, after.own - before.own
    loads = []
    if before.waited is not None and after.waited is not None:
        waited = max(0.0, after.waited - before.waited)
        loads.append(waited / (waited + own) if waited > 0 else 0.0)
    if seconds >= RESOLVED or not loads:
        others = max(0.0, after.busy - before.busy - own - children) / max(seconds, 1e-9)
        threads = min(threads, cores)
        loads.append(min(1.0, max(0.0, threads + others - cores) / threads))
    return max(loads)


class Stopwatch:
    """Runs from when it is made; with CUDA, what was left to the device is waited for before each reading."""

    def __init__(self) -> None:
        self._threads = torch.get_num_threads() if device() == "cpu" else 1
        self._children = children_seconds()
        wait_for_device()
        self._before = counters()
        self._began = time.perf_counter()

    def read(self) -> Timing:
        """Seconds since it was made, and the load meanwhile."""
        wait_for_device()
        seconds = time.perf_counter() - self._began
        after = counters()
        children = max(0.0, children_seconds() - self._children)
        return Timing(seconds, load_between(self._before, after, children, self._threads, len(allowed_cores())))


def wait_for_device() -> None:
    """Wait for the end of what was left to a CUDA device."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(call: Callable[[], object], tries: int = TRIES) -> Timing:
    """How long a call takes, by the least disturbed of some tries.

    Args:
        call: The call; each time it must do the same work, nothing of it kept from the time before.
        tries: How often a short call is made at most, see `least_disturbed`.
    """

    def attempt() -> tuple[None, Timing]:
        watch = Stopwatch()
        call()
        return None, watch.read()

    return least_disturbed(attempt, tries)[1]


def least_disturbed(attempt: Callable[[], tuple[T, Timed]], tries: int = TRIES) -> tuple[T, Timed]:
    """The first of some attempts that nothing disturbs, or the one with the least load.

    Args:
        attempt: Makes the call: what it gave, and how long it took.
        tries: Attempts at most; those that take longer than `SHORT_SECONDS` together are the last.
    """
    best = attempt()
    taken = best[1].seconds
    for _ in range(tries - 1):
        if not best[1].disturbed or taken > SHORT_SECONDS:
            break
        again = attempt()
        taken += again[1].seconds
        if (again[1].load or 0.0) < (best[1].load or 0.0):
            best = again
    return best


def undisturbed(timings: Sequence[Timed]) -> list[Timed]:
    """Those of several timings that say something: the undisturbed ones, or the least disturbed one alone."""
    return [one for one in timings if not one.disturbed] or [min(timings, key=lambda one: one.load or 0.0)]


def undisturbed_pairs(first: Sequence[Timing], second: Sequence[Timing]) -> list[tuple[Timing, Timing]]:
    """The same of calls that alternate: a pair is disturbed where one of the two is."""
    pairs = list(zip(first, second, strict=True))
    good = [pair for pair in pairs if not worst(*pair).disturbed]
    return good or [min(pairs, key=lambda pair: worst(*pair).load or 0.0)]


def worst(*timings: Timing) -> Timing:
    """The one with the most load."""
    return max(timings, key=lambda one: one.load or 0.0)


def noted(*timings: Timing) -> dict[str, Any]:
    """What a row that is made of some timings says of them: `load`, the worst of theirs, and `disturbed`."""
    return {"load": worst(*timings).load, "disturbed": worst(*timings).disturbed}
