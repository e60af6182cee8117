"""Progress bars on a terminal, silence everywhere else."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")


def track(items: Sequence[T] | range, description: str, done: int = 0) -> Iterable[T]:
    """Iterate with a progress bar on standard error where that is a terminal.

    Args:
        items: What is left to do.
        description: What it is, in a few words.
        done: How many were done before.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(description, total=done + len(items), completed=done)
        for item in items:
            yield item
            progress.advance(task)
