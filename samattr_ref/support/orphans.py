"""Worker processes end with the process that began them, even where that was killed."""

import os
import threading
import time
from functools import cache

SECONDS = 1.0
"""How often a worker looks."""


@cache
def end_with_parent() -> None:
    """Have this process end when its parent has: nobody waits for what it computes. Once a process."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end with parent").start()
