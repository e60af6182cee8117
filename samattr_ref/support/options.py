"""What kinds of values an option of a method or a setting of a workload takes, by how it is annotated."""

import difflib
import functools
import inspect
import textwrap
from collections.abc import Callable, Collection
from dataclasses import MISSING, dataclass, fields
from numbers import Integral, Real
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from samattr_ref.support.errors import SamattrError, unknown_name

T = TypeVar("T")


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
    def from_annotation(cls, default: Any, annotation: Any) -> "Option":
        """From a default and an annotation; without one that is known, it takes the kind of its default.

        >>> str(Option.from_annotation(None, int | None))
        'a whole number or None'
        """
        kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
        known = list(KINDS)
        if not all(kind in known for kind in kinds):
            kind = float if type(default) is int else type(default)
            kinds = (kind,) if kind in KINDS and default is not None else ()
        return cls(default, kinds)

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is MISSING or self.default is inspect.Parameter.empty

    def takes(self, value: Any) -> bool:
        """Whether the value is of a kind that it takes."""
        return not self.kinds or any(KINDS[kind][0](value) for kind in self.kinds)

    def check(self, name: str, value: Any) -> None:
        """Refuse a value of another kind for the setting of that name.

        Raises:
            SamattrError: saying what it takes.
        """
        if not self.takes(value):
            default = "" if self.required else f", by default {self.default!r}"
            raise SamattrError(f"{name} cannot be {textwrap.shorten(repr(value), 80)}: it takes {self}{default}")

    def __str__(self) -> str:
        return " or ".join(KINDS[kind][1] for kind in self.kinds)


_CLIPPING = "gradients are not clipped"
_AUGMENTATION = "augmentation must be a function of seed and step: `Workload(augmentation=)`"
_LOSS = "the loss is the workload's: `Workload(loss=)`"
_AVERAGE = "what is attributed is the last state of the run, not an average of states"

UNSUPPORTED = {
    **dict.fromkeys(("optimizer", "optimiser", "betas", "adam", "amsgrad"), "the base optimiser is SGD with momentum"),
    **dict.fromkeys(("nesterov", "dampening"), "the base optimiser is SGD with momentum, v ← μ v + G"),
    **dict.fromkeys(("clip", "clipping", "clip_norm", "clip_grad", "clip_grad_norm", "grad_clip"), _CLIPPING),
    **dict.fromkeys(("max_norm", "max_grad_norm", "gradient_clip", "gradient_clipping"), _CLIPPING),
    **dict.fromkeys(("augment", "augmentation", "augmentations", "transform", "transforms"), _AUGMENTATION),
    **dict.fromkeys(("loss", "criterion", "label_smoothing", "smoothing", "class_weights"), _LOSS),
    **dict.fromkeys(("ema", "ema_decay", "swa"), _AVERAGE),
}
"""Why there is no setting of a name that one might look for."""


def unknown_setting(kind: str, name: str, known: Collection[str]) -> SamattrError:
    """The error for a setting that there is not: the nearest one that there is, or why there is none."""
    if name in UNSUPPORTED and not difflib.get_close_matches(name, known, cutoff=0.8):
        return SamattrError(f"there is no {kind} '{name}': {UNSUPPORTED[name]}")
    return unknown_name(kind, name, known) if known else SamattrError(f"unknown {kind} '{name}': it has none")


def checked(cls: type[T]) -> type[T]:
    """Have a dataclass refuse settings that it does not have, and values of another kind, in one line.

    Its constructor then raises a `SamattrError` before it looks at any value. It stays the same in everything else.
    """
    make = cls.__init__
    signature = inspect.signature(make)
    own = {f.name: Option.from_annotation(f.default, f.type) for f in fields(cls) if f.init}  # type: ignore[arg-type]

    @functools.wraps(make)
    def constructor(self: T, *values: Any, **settings: Any) -> None:
        for name in settings:
            if name not in own:
                raise unknown_setting(f"setting of {cls.__name__}", name, own)
        try:
            given = signature.bind(self, *values, **settings).arguments
        except TypeError as error:
            raise SamattrError(f"{cls.__name__} cannot be made: {error}") from error
        for name, value in given.items():
            if name in own:
                own[name].check(name, value)
        make(self, *values, **settings)

    cls.__init__ = constructor  # type: ignore[assignment, method-assign]
    return cls
