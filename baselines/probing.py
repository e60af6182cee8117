"""Probes: how long a little of some work takes here, in device-seconds.

A device is one core or one GPU. On a core a second is one of computing (CPU time) with one thread: other programs,
which take the wall clock's seconds away, take of these only what they do to caches. On a GPU it is one of the wall
clock, and nothing else should run there.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from baselines.measure import most_resident_bytes
from samattr_ref.support.device import device
from samattr_ref.support.environment import environment
from samattr_ref.support.timing import wait_for_device

ENOUGH_SECONDS, LONG_SECONDS = 2.0, 10.0
"""A probe is of as much work as takes so long; what takes that long at once is not taken again to be warm."""


@dataclass
class Probe:
    """Device-seconds of calls.

    Attributes:
        computed: Of all calls.
        wall: Their wall-clock seconds.
    """

    computed: float = 0.0
    wall: float = 0.0

    @property
    def load(self) -> float:
        """The share of the wall clock in which other programs had the core, in [0, 1]; nothing is known of a GPU's."""
        return max(0.0, 1 - self.computed / self.wall) if self.wall else 0.0

    def time(self, call: Callable[[], object]) -> float:
        """Device-seconds of a call, with one thread."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            wait_for_device()
            began, before = time.perf_counter(), time.process_time()
            call()
            wait_for_device()
            wall, computed = time.perf_counter() - began, time.process_time() - before
        finally:
            torch.set_num_threads(threads)
        own = computed if device() == "cpu" else wall
        self.computed, self.wall = self.computed + own, self.wall + wall
        return own

    def each(self, call: Callable[[int], object], most: int) -> float:
        """Device-seconds of each of `most` equal parts, of which `call(k)` does k: of as many as take long enough."""
        count, taken = 1, self.time(partial(call, 1))
        if taken < LONG_SECONDS:
            taken = self.time(partial(call, 1))
        while taken < ENOUGH_SECONDS and count < most:
            count = min(2 * count, most)
            taken = self.time(partial(call, count))
        return taken / count


def device_name() -> str:
    """What a device is here."""
    here = environment()
    return f"one {here['gpu']}" if here["gpu"] else f"one core of {here['cpu']}"


def memory_bytes() -> int:
    """The most that this process has held: on the GPU where there is one, else at all."""
    return torch.cuda.max_memory_allocated() if device() == "cuda" else most_resident_bytes()
