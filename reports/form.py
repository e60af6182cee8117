"""The forms that tables are written in."""

from enum import StrEnum


class Form(StrEnum):
    """How the leaderboard is written."""

    MARKDOWN = "markdown"
    CSV = "csv"
    JSON = "json"
