"""Marks: a sign at what must not be read without a remark, and a line below that says the remark.

Tables, leaderboards and figures put the same sign at the same thing. What is marked, and why, comes from whoever knows
it: of methods' results `samattr_ref.marks` reads it off their diagnostics, and frames carry it in the column `marks`,
the reasons as one text. Frames of before it was kept have no such column: of these nothing is known.
"""

from collections.abc import Collection, Mapping, Sequence, Set

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.text import Text

from reports.labels import label_of, with_how
from samattr_ref.marks import over_seeds

SIGN = "†"

Marked = Mapping[tuple[str, str], Sequence[str]]
"""The reasons to mark what is marked, by workload and label of the method."""


def signed(label: str, reasons: Collection[str], sign: str = SIGN) -> str:
    """A label, with the sign where there is a reason to mark it.

    >>> signed("IF", []), signed("SAM unrolled", ["the run is chaotic"])
    ('IF', 'SAM unrolled †')
    """
    return f"{label} {sign}" if reasons else label


def footnote(marked: Mapping[str, Sequence[str]], sign: str = SIGN) -> str:
    """The line that says why things are marked; empty where none is.

    Args:
        marked: By what is marked, the reasons.
        sign: The sign at it.

    >>> footnote({"SAM unrolled": ["the run is chaotic"], "IF": []})
    '† SAM unrolled: the run is chaotic.'
    """
    return " ".join(f"{sign} {what}: {'; '.join(reasons)}." for what, reasons in marked.items() if reasons)


def marked_in(frame: pd.DataFrame) -> dict[tuple[str, str], list[str]]:
    """What is marked in the rows of a result, and why.

    Args:
        frame: Columns `workload`, `method`, `seed`, `how` where there are several ways, and `marks` where it is known.
    """
    if "marks" not in frame:
        return {}
    parts = with_how(frame).groupby(["workload", "method", "how"], sort=False)
    found = {(str(name), label_of(method, how)): reasons_in(part) for (name, method, how), part in parts}
    return {what: reasons for what, reasons in found.items() if reasons}


def reasons_in(part: pd.DataFrame) -> list[str]:
    """Why the rows of one method on one workload are marked: columns `seed` and `marks`."""
    texts = part["marks"].astype(object).fillna("").groupby(part["seed"]).max()
    return over_seeds([[text] if text else [] for text in texts])


def footnote_of(marked: Marked) -> str:
    """The footnote of what is marked on several workloads."""
    return footnote({f"{label} on {workload}": reasons for (workload, label), reasons in marked.items()})


def signed_table(shown: pd.DataFrame, marked: Marked) -> pd.DataFrame:
    """A table as a reader sees it, with the sign at the methods that are marked on the workload of their row.

    Args:
        shown: With a column `Method` of labels, and `Workload` where it has several; other tables stay as they are.
        marked: What is marked.
    """
    if "Method" not in shown or not marked:
        return shown
    workloads = shown["Workload"] if "Workload" in shown else [None] * len(shown)
    labels = [
        signed(label, [name for name, of in marked if of == label and workload in (None, name)])
        for workload, label in zip(workloads, shown["Method"], strict=True)
    ]
    return shown.assign(Method=labels)


def sign_figure(figure: Figure, labels: Set[str]) -> None:
    """Put the sign at some labels, wherever a figure has them: in legends, as titles, at ticks, beside points."""
    for axis in figure.axes:
        ticks = [text.get_text() for text in axis.get_yticklabels()]
        if not labels.isdisjoint(ticks):
            axis.set_yticks(axis.get_yticks(), [f"{tick} {SIGN}" if tick in labels else tick for tick in ticks])
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if text.get_text() in labels:
            text.set_text(f"{text.get_text()} {SIGN}")
