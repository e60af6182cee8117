"""Long computations in parts that fit in memory."""

import math
from collections.abc import Iterator

CHUNK_BYTES = 64 * 2**20
"""How large the largest intermediate of a chunked computation may become."""


def chunk_length(bytes_per_item: int) -> int:
    """How many items of that size fit in `CHUNK_BYTES`, at least one."""
    return max(1, CHUNK_BYTES // max(1, math.ceil(bytes_per_item)))


def chunks(count: int, size: int) -> Iterator[slice]:
    """Consecutive slices of at most `size` that cover `count` items."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
