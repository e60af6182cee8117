"""What is written where: results alone on standard output, and all else on standard error, whoever prints it.

A method, a plug-in, a library or a worker process prints what it likes; whoever reads results should not have to pick
them out of that.
"""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any, TextIO

import typer
from typer.core import TyperCommand

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE)
"""What is wrong where output is not taken."""

_results: TextIO | None = None
"""Standard output, while a command runs."""


class App(typer.Typer):
    """A program whose commands `show` their results: what they print otherwise is not among them."""

    def command(self, *given: Any, **settings: Any) -> Callable[[Any], Any]:
        """A command of it, see `typer.Typer.command`."""
        return super().command(*given, cls=_Command, **settings)


class _Command(TyperCommand):
    def invoke(self, ctx: Any) -> Any:
        with _apart():
            return super().invoke(ctx)


def show(text: str) -> None:
    """Write a result to standard output.

    Raises:
        SamattrError: if it cannot be written.
    """
    stream = _results or sys.stdout
    with written(stream):
        print(text, file=stream)


@contextmanager
def written(stream: TextIO | None) -> Iterator[None]:
    """See that what the block writes to a stream has arrived at its end; where a reader went away, end silently.

    Raises:
        SamattrError: if it cannot be written.
        SystemExit: if it is a pipe that was closed.
    """
    if stream is None:  # closed
        yield
        return
    try:
        try:
            yield
        finally:
            stream.flush()
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # else Python tries once more as it ends
        if isinstance(error, BrokenPipeError):
            raise SystemExit(1) from error
        from samattr_ref.support.errors import SamattrError

        raise SamattrError(f"the output could not be written ({error.strerror})") from error


@contextmanager
def _apart() -> Iterator[None]:
    """Within the block, what is printed goes to standard error, also by worker processes, unless it is shown."""
    global _results
    if sys.stdout is None or sys.stderr is None:  # closed: nobody reads it
        yield
        return
    with _descriptor_apart(sys.stdout) as _results, redirect_stdout(sys.stderr):
        try:
            yield
        finally:
            _results = None


@contextmanager
def _descriptor_apart(stdout: TextIO) -> Iterator[TextIO]:
    """Within the block, what is written past Python goes to standard error, too; the stream that does not."""
    if not (_is_descriptor(stdout, 1) and _is_descriptor(sys.stderr, 2)):
        yield stdout
        return
    stdout.flush()
    with os.fdopen(os.dup(1), "w", encoding=stdout.encoding, errors=stdout.errors) as results:
        os.dup2(2, 1)
        try:
            yield results
        finally:
            with suppress(OSError):
                stdout.flush()  # of those who kept it from before
            os.dup2(results.fileno(), 1)


def _is_descriptor(stream: TextIO, number: int) -> bool:
    try:
        return stream.fileno() == number
    except OSError:  # as of a stream in memory
        return False
