"""Runtime and peak memory of a call."""

import ctypes
import ctypes.util
import gc
import resource
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import psutil
import torch

from samattr_ref.support.timing import TRIES, Stopwatch, Timing, least_disturbed

SAMPLE_SECONDS = 0.01

T = TypeVar("T")


@dataclass(frozen=True)
class Cost(Timing):
    """What a call took: `seconds` and `load`, see `samattr_ref.support.timing`, and memory.

    Attributes:
        peak_memory_bytes: On a CPU, the most resident memory above what was resident before, sampled every 10 ms: an
            indication, since freed memory that the allocator kept may be used again (asv's `peakmem_` benchmarks run
            each method in a process of its own).
            With CUDA, the most memory allocated on the device.
    """

    peak_memory_bytes: int


def measured(call: Callable[[], T], tries: int = TRIES) -> tuple[T, Cost]:
    """What a call gives, and what it took.

    Args:
        call: The call; each time it must do the same work, nothing of it kept from the time before.
        tries: How often it is made at most where it is short and other programs disturbed it; memory is the most of all
            tries.
    """
    peaks: list[int] = []

    def attempt() -> tuple[T, Cost]:
        found, cost = _once(call)
        peaks.append(cost.peak_memory_bytes)
        return found, cost

    found, cost = least_disturbed(attempt, tries)
    return found, replace(cost, peak_memory_bytes=max(peaks))


def _once(call: Callable[[], T]) -> tuple[T, Cost]:
    process = psutil.Process()
    _give_back_freed_memory()
    before = peak = process.memory_info().rss
    stop = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not stop.wait(SAMPLE_SECONDS):
            peak = max(peak, process.memory_info().rss)

    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    watch = Stopwatch()
    try:
        found = call()
        timing = watch.read()
    finally:
        peak = max(peak, process.memory_info().rss)
        stop.set()
        sampler.join()
    used = torch.cuda.max_memory_allocated() if cuda else peak - before
    return found, Cost(timing.seconds, timing.load, used)


def _give_back_freed_memory() -> None:
    """Collect garbage and have glibc return what is free, so that what the call needs shows as growth."""
    gc.collect()
    libc = ctypes.CDLL(ctypes.util.find_library("c"))
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def most_resident_bytes() -> int:
    """The most memory that this process has held at once since it began, as the system counts it."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
