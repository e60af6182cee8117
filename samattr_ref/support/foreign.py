"""Code of others, a user's or an installed package's: what it raises is said in one line."""

import functools
import inspect
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from samattr_ref.support.errors import SamattrError, first_line

RAISED = (Exception, SystemExit)
"""What code of others may raise and is answered with one line; what stops the program goes through."""


@contextmanager
def foreign(what: str, function: Callable[..., Any] | None = None) -> Iterator[None]:
    """Within the block code of others is called: what it raises becomes one line.

    Args:
        what: What the line begins with, as in `the model cannot be built`.
        function: What is called, for the line of its file to be named.

    Raises:
        SamattrError: in the place of what was raised, which is its cause; or as the code itself raised it.
    """
    try:
        yield
    except SamattrError:
        raise
    except RAISED as error:
        at = "" if function is None else place(error, function)
        raise SamattrError(f"{what}: {first_line(error)}{at}") from error


def place(error: BaseException, function: Callable[..., Any]) -> str:
    """The last line of a function's file that an exception came through, to be put behind what it says.

    Returns:
        Such as `, at mine.py:3`; empty where it did not come through that file.
    """
    file = _file(function)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f", at {Path(file).name}:{lines[-1]}" if file and lines else ""


def _file(function: Callable[..., Any]) -> str | None:
    """The file of what a callable runs: beneath decorators and partials, or an object's `__call__`."""
    function = inspect.unwrap(function)
    if isinstance(function, functools.partial):
        return _file(function.func)
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return code.co_filename if code else None
