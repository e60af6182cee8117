"""Warm starts: where one damping is chosen of many, iterations begin at the latest solution."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor

from samattr_ref.run import Run

latest_solution: ContextVar[list[tuple[Run, Any, Tensor]] | None] = ContextVar("latest solution", default=None)
"""The latest solution with the run and the system that it is of, at most one; None outside of `warm_starts`."""


@contextmanager
def warm_starts() -> Iterator[None]:
    """Within the block, iterations begin at the latest solution where only the damping was another.

    That saves steps where one damping is chosen of many, and leaves scores that depend on the order they were made in,
    within the solver's tolerance.
    """
    token = latest_solution.set([])
    try:
        yield
    finally:
        latest_solution.reset(token)
