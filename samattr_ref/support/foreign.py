"""Code of others, a user's or an installed package's: what it raises is said in one line."""

import functools
import inspect
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

RAISED = (Exception, SystemExit)
"""What code of others may raise and is answered with one line; what stops the program goes through."""


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
