"""Settings of a workload by their names alone, as on the command line: whichever part has a field of that name."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from samattr_ref.data import Features
from samattr_ref.sam.variants import variant_named
from samattr_ref.support.options import Option, unknown_setting

if TYPE_CHECKING:
    from samattr_ref.workload import Workload

OWN = ("dtype", "n_removed", "removed", "training_seed", "augmentation", "loss")
"""The workload's own fields that may be replaced."""


def overridden(workload: "Workload", settings: Mapping[str, Any]) -> "Workload":
    """The workload with the fields of those names replaced, wherever they stand in it.

    All of a part are replaced at once: `steps` and `warmup` have to go together, and not one after the other.

    Raises:
        SamattrError: if no part has a field of that name, or a value is out of range.
    """
    if isinstance(workload.data, Features):  # what has a name is beneath it
        beneath = overridden(replace(workload, data=workload.data.source), settings)
        return replace(beneath, data=replace(workload.data, source=beneath.data))
    settings = dict(settings)
    if isinstance(settings.get("variant"), str):
        settings["variant"] = variant_named(settings["variant"])
    variant = settings.get("variant", workload.recipe.variant)
    places = {
        "workload": list(OWN),
        "variant": _names(variant),
        "recipe": _names(workload.recipe),
        "data": _names(workload.data),
        "model": _names(workload.model),
    }
    changes: dict[str, dict[str, Any]] = {part: {} for part in places}
    for name, value in settings.items():
        part = next((part for part, names in places.items() if name in names), None)
        if part is None:
            raise unknown_setting("workload setting", name, [known for names in places.values() for known in names])
        changes[part][name] = value
    if changes["variant"]:
        changes["recipe"]["variant"] = _with(variant, changes["variant"])
    for part in ("recipe", "data", "model"):
        if changes[part]:
            changes["workload"][part] = _with(getattr(workload, part), changes[part])
    changed: Workload = _with(workload, changes["workload"])
    return changed


def _names(part: Any) -> list[str]:
    return [f.name for f in fields(part)] if is_dataclass(part) else []


def _with(part: Any, values: Mapping[str, Any]) -> Any:
    """A dataclass with other values of some fields, if they are of the fields' kinds."""
    kinds = {f.name: f.type for f in fields(part)}
    for name, value in values.items():
        Option.from_annotation(getattr(part, name), kinds[name]).check(name, value)
    return replace(part, **values)
