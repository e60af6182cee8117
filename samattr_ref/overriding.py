"""Settings of a workload by their names alone, as on the command line: whichever part has a field of that name."""

from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from samattr_ref.data import Features
from samattr_ref.sam.variants import variant_named
from samattr_ref.support.options import Option, unknown_setting

if TYPE_CHECKING:
    from samattr_ref.workload import Workload

OWN = ("dtype", "n_removed", "removed", "training_seed", "augmentation", "loss")
"""The workload's own fields that may be replaced."""


def overridden(workload: "Workload", name: str, value: Any) -> "Workload":
    """The workload with the field of that name replaced, wherever it stands in it.

    Raises:
        SamattrError: if no part has a field of that name, or a value is out of range.
    """
    if isinstance(workload.data, Features):  # what has a name is beneath it
        beneath = overridden(replace(workload, data=workload.data.source), name, value)
        return replace(beneath, data=replace(workload.data, source=beneath.data))
    if name in OWN:
        changed: Workload = _with(workload, name, value)
        return changed
    if name == "variant" and isinstance(value, str):
        value = variant_named(value)
    variant = workload.recipe.variant
    if name in (own := [f.name for f in fields(variant)]):
        return replace(workload, recipe=replace(workload.recipe, variant=_with(variant, name, value)))
    parts = {part: getattr(workload, part) for part in ("recipe", "data", "model")}
    known: list[str] = []
    for part, old in parts.items():
        names = [f.name for f in fields(old)] if is_dataclass(old) else []
        if name in names:
            return replace(workload, **{part: _with(old, name, value)})
        known += names
    raise unknown_setting("workload setting", name, [*OWN, *known, *own])


def _with(part: Any, name: str, value: Any) -> Any:
    """A dataclass with another value of a field, if it is of the field's kind."""
    old = getattr(part, name)
    Option.from_annotation(old, next(f.type for f in fields(part) if f.name == name)).check(name, value)
    return replace(part, **{name: value})
