"""Long computations in parts that fit in memory.

One bound says how many bytes a call may hold beside the run, the queries and its result. The lengths of all parts are
made from it: a half of it is for what is carried along for each of the queries that are scored together, an eighth for
what a chunk of training points takes, a quarter for states of the run that are taken again; the rest covers what the
estimates leave out. Where a device has less memory than that, the parts that ran out are halved.
"""

import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import torch

from samattr_ref.support.errors import MemoryLimitError, SamattrError

T = TypeVar("T")

DEFAULT_BYTES = 512 * 2**20
"""The bound where none is given: then parts of one item may be larger, and states are held as they come."""

BLOCK, STATES, CHUNK = 2, 4, 8
"""Which part of the bound goes to a block of queries, to states of the run, to a chunk of training points."""

_given: ContextVar[int | None] = ContextVar("memory_bytes", default=None)


@contextmanager
def memory_bound(memory_bytes: int | None) -> Iterator[None]:
    """Within the block, hold at most so many bytes; None leaves the bound as it is.

    Raises:
        SamattrError: if it is not a whole number of at least 1.
    """
    if memory_bytes is None:
        yield
        return
    if isinstance(memory_bytes, bool) or not isinstance(memory_bytes, int) or memory_bytes < 1:
        raise SamattrError(f"memory_bytes must be a whole number of at least 1, not {memory_bytes!r}")
    token = _given.set(memory_bytes)
    try:
        yield
    finally:
        _given.reset(token)


def given_bytes() -> int | None:
    """The bound that was given, if one was: rounding follows the lengths of parts, which follow it."""
    return _given.get()


def chunk_bytes() -> int:
    """What a chunk of training points may take."""
    return _bound() // CHUNK


def chunk_length(bytes_per_item: float) -> int:
    """How many items of that size, at least one, make a chunk of training points.

    Raises:
        MemoryLimitError: if a bound was given that has no room for one.
    """
    return _length(bytes_per_item, CHUNK)


def block_length(bytes_per_query: float) -> int:
    """How many queries of that size, at least one, are scored together.

    Raises:
        MemoryLimitError: if a bound was given that has no room for one.
    """
    return _length(bytes_per_query, BLOCK)


def states_bytes() -> int | None:
    """What states of the run may take that are taken again and held; None for as much as it takes."""
    given = _given.get()
    return None if given is None else given // STATES


def fits(needed: int) -> bool:
    """Whether what cannot be cut into parts is within the bound, if one was given."""
    given = _given.get()
    return given is None or needed <= given


def check_fits(needed: int, what: str) -> None:
    """Refuse what cannot be cut into parts and is larger than a bound that was given.

    Raises:
        MemoryLimitError: saying what it takes.
    """
    if not fits(needed):
        raise MemoryLimitError(f"memory_bytes = {_given.get()} is too small: {what} takes about {needed} bytes")


def chunks(count: int, size: int) -> Iterator[slice]:
    """Consecutive slices of at most `size` that cover `count` items."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def in_chunks(function: Callable[[slice], T], count: int, length: int) -> Iterator[tuple[slice, T]]:
    """What a function makes of consecutive slices of at most `length` that cover `count` items.

    Where memory runs out in a slice, it is taken again as two halves, and so are all that follow.

    Args:
        function: From a slice to a result; without other effects, since it may be called again for the same items.
        count: How many items there are.
        length: How many to take at once.

    Yields:
        Each slice with its result.

    Raises:
        MemoryLimitError: if memory runs out at a single item.
    """
    start = 0
    while start < count:
        part = slice(start, min(start + length, count))
        try:
            found = function(part)
        except (RuntimeError, MemoryError, MemoryLimitError) as error:
            if not _ran_out(error):
                raise
            length = (part.stop - start) // 2
            if length == 0:
                if isinstance(error, MemoryLimitError):
                    raise
                said = str(error).partition("\n")[0]
                raise MemoryLimitError(f"memory ran out with a single item at a time: {said}") from error
        else:
            yield part, found
            start = part.stop
            continue
        # only here, outside of `except`, are the frames let go that still hold what the failed call made
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _ran_out(error: Exception) -> bool:
    """Whether memory ran out: on a CPU torch says so in a plain RuntimeError."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError | MemoryLimitError)
    return known or "DefaultCPUAllocator: can't allocate memory" in str(error)


def _bound() -> int:
    given = _given.get()
    return DEFAULT_BYTES if given is None else given


def _length(bytes_per_item: float, part: int) -> int:
    size = max(1, math.ceil(bytes_per_item))
    length = _bound() // part // size
    if length == 0 and _given.get() is not None:
        what = "one query" if part == BLOCK else "one training point"
        raise MemoryLimitError(
            f"memory_bytes = {_bound()} is too small: {what} takes about {size} bytes, so {part * size} are needed"
        )
    return max(1, length)
