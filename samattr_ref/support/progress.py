"""Progress bars on a terminal, silence everywhere else."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def track(items: Sequence[T], description: str, done: int = 0) -> Iterable[T]:
    """Iterate with a progress bar on standard error where that is a terminal; bars may be nested.

    Args:
        items: What is left to do.
        description: What it is, in a few words.
        done: How many were done before.
    """
    bar: Iterable[T] = tqdm(items, desc=description, initial=done, total=done + len(items), disable=None, leave=False)
    return bar
