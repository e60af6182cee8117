"""What kinds of values an option of a method or a setting of a workload takes, by how it is annotated."""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from types import UnionType
from typing import Any, Union, get_args, get_origin


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


KINDS: dict[Any, tuple[Callable[[Any], bool], str]] = {
    bool: (lambda value: isinstance(value, bool), "true or false"),
    int: (_whole, "a whole number"),
    float: (lambda value: isinstance(value, Real) and not isinstance(value, bool), "a number"),
    str: (lambda value: isinstance(value, str), "a text"),
    tuple[int, ...]: (lambda value: isinstance(value, tuple) and all(map(_whole, value)), "whole numbers"),
    type(None): (lambda value: value is None, "None"),
}
"""The kinds that are told apart: whether a value is of the kind, and how it is called."""


@dataclass(frozen=True)
class Option:
    """A value that a user may set.

    Attributes:
        default: Its value where nobody does.
        kinds: What it takes, of `KINDS`; with none, anything.
    """

    default: Any
    kinds: tuple[Any, ...]

    @classmethod
    def declared(cls, default: Any, annotation: Any) -> "Option":
        """From a default and an annotation; without one that is known, it takes the kind of its default.

        >>> str(Option.declared(None, int | None))
        'a whole number or None'
        """
        kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
        known = list(KINDS)
        if not all(kind in known for kind in kinds):
            kind = float if type(default) is int else type(default)
            kinds = (kind,) if kind in KINDS and default is not None else ()
        return cls(default, kinds)

    def takes(self, value: Any) -> bool:
        """Whether the value is of a kind that it takes."""
        return not self.kinds or any(KINDS[kind][0](value) for kind in self.kinds)

    def __str__(self) -> str:
        return " or ".join(KINDS[kind][1] for kind in self.kinds)
