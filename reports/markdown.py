"""Markdown, by Jinja's templates in a package's folder `templates`."""

from collections.abc import Sequence
from functools import cache

import jinja2
import pandas as pd


def render(template: str, package: str = "reports", **values: object) -> str:
    """The text of a template, without line breaks at its ends.

    Args:
        template: Its file's name without the ending `.md.j2`.
        package: The package that has it.
        values: What it is filled with; one that it needs and does not get is an error.
    """
    return _environment(package).get_template(f"{template}.md.j2").render(values).strip("\n")


def table(frame: pd.DataFrame, align: Sequence[str] | None = None) -> str:
    """A frame of text as a Markdown table: no index, nothing read as a number, columns `left` or `right` aligned.

    >>> print(table(pd.DataFrame({"Method": ["IF"], "Slope": ["1.00"]}), ["left", "right"]))
    | Method   |   Slope |
    |:---------|--------:|
    | IF       |    1.00 |
    """
    text: str = frame.to_markdown(index=False, disable_numparse=True, colalign=align)
    return text


def flow(text: str) -> str:
    """A paragraph that its template breaks into lines, as one line.

    >>> flow(" over seeds   and queries ")
    'over seeds and queries'
    """
    return " ".join(text.split())


@cache
def _environment(package: str) -> jinja2.Environment:
    loader = jinja2.PackageLoader(package)
    environment = jinja2.Environment(
        loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"table": table, "flow": flow}
    return environment
