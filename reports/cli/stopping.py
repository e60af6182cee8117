"""Stopping: by Ctrl-C or a signal that asks for it, at once, with nothing left running and nothing lost."""

import atexit
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

SAID = {signal.SIGINT: "interrupted", signal.SIGTERM: "ended"}
"""The signals that stop the program, and what it says."""


class Stopped(BaseException):
    """A signal that asks to stop. Nothing that a command calls takes it for an error of its own.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = signal.Signals(number)


def _stop(number: int, _: object) -> None:
    for known in SAID:
        signal.signal(known, signal.SIG_DFL)  # who asks twice does not wait
    raise Stopped(number)


@contextmanager
def stoppable() -> Iterator[None]:
    """Within the block, Ctrl-C and SIGTERM end the program: its worker processes with it, with one line.

    The exit status is that which shells expect, 130 or 143.
    """
    before = {number: signal.signal(number, _stop) for number in SAID}
    try:
        yield
    except Stopped as error:
        for process in psutil.Process().children(recursive=True):
            process.kill()
        said = f"{SAID[error.number]}: what was finished is kept, and the same command goes on from there"
        print(f"samattr: {said}", file=sys.stderr, flush=True)
        atexit._run_exitfuncs()  # as an ordinary end has it
        os._exit(128 + error.number)  # which would then take more than a second to unload torch
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
