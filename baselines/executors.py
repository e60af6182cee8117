"""Where independent work is done: in this process, or on the machines of a Ray cluster.

Retrainings, candidates of a method's grid and cells of experiments are calls `function(shared, item)` that depend on
nothing but their arguments. Here they are made one after another; on a cluster (`baselines.on_ray`) many at once, and
again where a process or a machine died. Whoever asks stores what comes back: a result is in the store once, whole.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

Call = Callable[[Any, Any], Any]


class Executor(Protocol):
    """What makes calls."""

    def map(self, call: Call, shared: Any, items: Sequence[Any], cores: int = 1) -> Iterator[tuple[int, Any]]:
        """`call(shared, item)` of every item, as they come in.

        Args:
            call: A function of a module that every machine has.
            shared: What all calls are given.
            items: What each call is given.
            cores: How many a call uses.

        Yields:
            The place of an item and what came of it.

        Raises:
            SamattrError: what a call raised, or that it could not be made.
        """


class InProcess:
    """One call after another, in this process."""

    def map(self, call: Call, shared: Any, items: Sequence[Any], cores: int = 1) -> Iterator[tuple[int, Any]]:
        """See `Executor`; a call uses the cores that there are."""
        for i, item in enumerate(items):
            yield i, call(shared, item)


HERE = InProcess()
_chosen: ContextVar[Executor | None] = ContextVar("executor", default=None)


def executor() -> Executor:
    """What makes calls now."""
    return _chosen.get() or HERE


@contextmanager
def executing(by: Executor) -> Iterator[None]:
    """Within the block, calls are made by another executor."""
    token = _chosen.set(by)
    try:
        yield
    finally:
        _chosen.reset(token)
