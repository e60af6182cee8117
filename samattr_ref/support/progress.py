"""Progress on standard error: bars where that is a terminal, elsewhere a line every half minute."""

import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO, TypeVar

from tqdm import tqdm

T = TypeVar("T")

SECONDS = 30.0
"""Between two lines."""


@dataclass(eq=False)
class Work:
    """Something that is being done.

    Attributes:
        what: What it is, in a few words.
        total: How many parts it has, or None where that is unknown.
        done: How many of them are done.
        first: How many were done before.
        began: When it began, on the clock that only goes forward.
        stream: Where standard error went then.
    """

    what: str
    total: int | None = None
    done: int = 0
    first: int = 0
    began: float = field(default_factory=time.monotonic)
    stream: TextIO = field(default_factory=lambda: sys.stderr)

    def update(self) -> None:
        """One more part is done."""
        self.done += 1

    def __str__(self) -> str:
        seconds = time.monotonic() - self.began
        far = "" if self.total is None else f" {self.done} of {self.total},"
        said = f"{self.what}:{far} {tqdm.format_interval(seconds)} so far"
        if self.total is None or self.done <= self.first:
            return said
        left = seconds / (self.done - self.first) * (self.total - self.done)
        return f"{said}, about {tqdm.format_interval(left)} left"


class Reporter:
    """Says every half minute what is being done, the outermost first; one thread, begun with the first work.

    It is said where standard error went when the outermost began, also while a library is not to be heard.
    """

    def __init__(self) -> None:
        self.silent = False
        self.works: list[Work] = []
        self._thread: threading.Thread | None = None

    def begin(self, work: Work) -> None:
        """Add some work."""
        self.works.append(work)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True, name="progress")
            self._thread.start()

    def end(self, work: Work) -> None:
        """It is done, or was left."""
        self.works.remove(work)

    def say(self) -> None:
        """Say what is being done now: nothing of what has just begun."""
        works = list(self.works)
        if not self.silent and works and time.monotonic() - works[0].began >= SECONDS:
            print("; ".join(map(str, works)), file=works[0].stream, flush=True)

    def _run(self) -> None:
        while True:
            time.sleep(SECONDS)
            self.say()


REPORTER = Reporter()


def silence() -> None:
    """Say nothing of progress from here on, in this process: neither bars nor lines."""
    REPORTER.silent = True


@contextmanager
def working(what: str, total: int | None = None, done: int = 0) -> Iterator["Work | tqdm[None]"]:
    """While something is being done: a bar or lines; `update()` of what is given says that one more part is done.

    Args:
        what: What it is, in a few words.
        total: How many parts it has, or None where that is unknown.
        done: How many were done before.
    """
    if REPORTER.silent or sys.stderr.isatty():
        known = None if total is not None else "{desc} ..."
        with tqdm(desc=what, total=total, initial=done, leave=False, disable=REPORTER.silent, bar_format=known) as bar:
            yield bar
        return
    work = Work(what, total, done, done)
    REPORTER.begin(work)
    try:
        yield work
    finally:
        REPORTER.end(work)


def track(items: Sequence[T], description: str, done: int = 0) -> Iterable[T]:
    """Iterate with progress on standard error; bars and lines may be nested.

    Args:
        items: What is left to do.
        description: What it is, in a few words.
        done: How many were done before.
    """
    with working(description, done + len(items), done) as work:
        for item in items:
            yield item
            work.update()
