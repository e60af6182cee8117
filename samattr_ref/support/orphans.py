"""Worker processes end with the process that began them, even where that was killed."""

import os
import threading
import time

SECONDS = 1.0
"""How often a worker looks."""


def end_with_parent(parent: int) -> None:
    """Have this process end when the one that began it has: nobody waits for what it computes.

    Args:
        parent: The process that began it, which may have ended already.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end with parent").start()
