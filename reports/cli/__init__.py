"""The program `samattr`."""

from reports.cli.program import app, main

__all__ = ["app", "main"]
