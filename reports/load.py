"""Marks at times that say too much: other programs used the machine while they were taken.

What was measured has a column `disturbed`, see `samattr_ref.support.timing`. Rows of before it was measured have none:
of these nothing is known, and nothing is marked.
"""

from collections.abc import Iterable
from typing import Any

import pandas as pd

MARK = "*"

SAID = f"Times with {MARK}, or what is made of them: taken while other programs used the machine, and too long."


def starred(text: str, disturbed: object) -> str:
    """A time as tables write it, with the mark where it was disturbed.

    >>> starred("12.3", True), starred("12.3", False), starred("12.3", None)
    ('12.3 *', '12.3', '12.3')
    """
    return f"{text} {MARK}" if any_disturbed([disturbed]) else text


def any_disturbed(flags: Iterable[Any]) -> bool:
    """Whether any of some times was disturbed; of those that are not known nothing is said."""
    return any(pd.notna(flag) and bool(flag) for flag in flags)


def disturbed(frame: pd.DataFrame) -> bool:
    """Whether any time of a frame was disturbed."""
    return "disturbed" in frame and any_disturbed(frame["disturbed"])


def remark(frame: pd.DataFrame) -> str:
    """What a caption says of disturbed times, after a space; empty where a frame has none."""
    return f" {SAID}" if disturbed(frame) else ""
