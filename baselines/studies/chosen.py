"""Which methods a study takes, by what their registrations say, in the order of tables."""

from collections.abc import Iterable, Mapping
from typing import Any

from baselines.validation import GROUND_TRUTH
from samattr_ref.registry import Family, get_method, methods


def compared() -> list[str]:
    """What the paper's curves compare: exact effects, and every method but those whose registration says otherwise."""
    return [GROUND_TRUTH, *(name for name, method in methods().items() if method.compared)]


def of_family(*families: Family) -> list[str]:
    """The methods of some families.

    >>> of_family(Family.CHANCE)
    ['random']
    """
    return [name for name, method in methods().items() if method.family in families]


def not_of_family(*families: Family) -> list[str]:
    """The methods of all other families."""
    return [name for name, method in methods().items() if method.family not in families]


def with_option(option: str) -> list[str]:
    """The methods that have an option."""
    return [name for name, method in methods().items() if option in method.options]


def options_by_method(names: Iterable[str], options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The options for each of the methods, of each those that it has.

    >>> options_by_method(["sam-if", "tracin-cp"], {"damping": 0.1, "checkpoints": 5})
    {'sam-if': {'damping': 0.1}, 'tracin-cp': {'checkpoints': 5}}
    """
    return {name: get_method(name).having(options) for name in names}
