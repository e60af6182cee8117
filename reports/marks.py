"""Marks: a sign at what must not be read without a remark, and a line below that says the remark.

Tables, leaderboards and figures put the same sign at the same thing. What is marked, and why, comes from whoever knows
it: of methods' results `samattr_ref.marks` reads it off their diagnostics.
"""

from collections.abc import Iterable, Mapping, Sequence

SIGN = "†"


def signed(label: str, reasons: Sequence[str] | None, sign: str = SIGN) -> str:
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
    said = [f"{what}: {', '.join(reasons)}" for what, reasons in marked.items() if reasons]
    return f"{sign} {'; '.join(said)}." if said else ""


def over_seeds(reasons: Iterable[Sequence[str]]) -> list[str]:
    """The reasons of several seeds as one: those of the first that is marked, and how many are.

    >>> over_seeds([[], ["grew 12-fold"], ["grew 15-fold"]])
    ['grew 12-fold (so in 2 of 3 seeds)']
    """
    each = list(reasons)
    marked = [own for own in each if own]
    if not marked or len(each) == 1:
        return list(marked[0]) if marked else []
    return [f"{', '.join(marked[0])} (so in {len(marked)} of {len(each)} seeds)"]
