"""Runtime and peak memory of a call."""

import ctypes
import ctypes.util
import gc
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import torch

SAMPLE_SECONDS = 0.01


@dataclass
class Cost:
    """What a call took.

    Attributes:
        runtime_s: Wall-clock seconds.
        peak_memory_bytes: On a CPU, the most resident memory above what was resident before, sampled every 10 ms: an
            indication, since freed memory that the allocator kept may be used again (asv's `peakmem_` benchmarks run
            each method in a process of its own).
            With CUDA, the most memory allocated on the device.
    """

    runtime_s: float = 0.0
    peak_memory_bytes: int = 0


def seconds(call: Callable[[], object]) -> float:
    """Wall-clock seconds of a call, to the end of what it left to a GPU."""
    _wait_for_device()
    began = time.perf_counter()
    call()
    _wait_for_device()
    return time.perf_counter() - began


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure the block: the yielded `Cost` is filled in when it ends."""
    cost = Cost()
    process = psutil.Process()
    _give_back_freed_memory()
    before = peak = process.memory_info().rss
    stop = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not stop.wait(SAMPLE_SECONDS):
            peak = max(peak, process.memory_info().rss)

    cuda = torch.cuda.is_available()
    _wait_for_device()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    began = time.perf_counter()
    try:
        yield cost
        _wait_for_device()
    finally:
        cost.runtime_s = time.perf_counter() - began
        peak = max(peak, process.memory_info().rss)
        stop.set()
        sampler.join()
        cost.peak_memory_bytes = torch.cuda.max_memory_allocated() if cuda else peak - before


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


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
