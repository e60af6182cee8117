"""Named things of one kind, and the two doors that they come in by.

Methods, variants of SAM, metrics, workloads and experiments are each kept in a `Registry`. A thing is registered where
it is defined, by a decorator or a call; or an installed package names it under an entry point, either the module that
registers it or the thing alone. No name is taken from the project or from another package, and what does not load stops
nothing: both are a warning of one line.
"""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, TypeVar

from samattr_ref.support.errors import SamattrError, first_line, unknown_name
from samattr_ref.support.foreign import RAISED

T = TypeVar("T")

OWN = ("samattr_ref", "baselines", "reports")
"""The packages of the project: what they define is there first, whatever else is installed."""

log = logging.getLogger(__name__)


class Registry(Mapping[str, T]):
    """Things of one kind by name, those of installed packages among them; entry points are loaded when first asked for.

    Args:
        kind: What one of them is called, as in `method`.
        group: The group of entry points that packages name theirs in.
        admit: `(name, found, home)`: registers what an entry point of that name found in a module, where it is not a
            module and not among the registered things already.
    """

    def __init__(self, kind: str, group: str, admit: Callable[[str, Any, str], None]) -> None:
        self.kind, self.group, self.admit = kind, group, admit
        self._things: dict[str, T] = {}
        self._homes: dict[str, str] = {}
        self._pending: list[EntryPoint] | None = None

    def add(self, name: str, thing: T, home: str) -> None:
        """Register a thing. A module may register its own again; the name of another's is refused with a warning.

        Args:
            name: Its name.
            thing: The thing.
            home: The module that defines it.
        """
        if not is_own(home):
            self._load(own=True)
        there = self._homes.setdefault(name, home)
        if there == home:
            self._things[name] = thing
        else:
            log.warning("%s '%s' of %s is left out: %s has one of that name", self.kind, name, home, there)

    def named(self, name: str) -> T:
        """The thing of that name.

        Raises:
            SamattrError: if there is none, with the nearest name.
        """
        if name not in self:
            raise unknown_name(self.kind, name, self)
        return self[name]

    def registered(self) -> dict[str, T]:
        """What has been registered so far; loads no entry point."""
        return dict(self._things)

    def __getitem__(self, name: str) -> T:
        self._load()
        return self._things[name]

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(list(self._things))

    def __len__(self) -> int:
        self._load()
        return len(self._things)

    def _load(self, own: bool = False) -> None:
        """Load the entry points that have not been, those of the project first, or these alone."""
        if self._pending is None:
            found = entry_points(group=self.group)
            self._pending = sorted(found, key=lambda entry: (not is_own(entry.value), entry.name))
        while self._pending and (is_own(self._pending[0].value) or not own):
            self._open(self._pending.pop(0))  # first: what it imports may ask what there is

    def _open(self, entry: EntryPoint) -> None:
        before = set(self._things)
        try:
            with redirect_stdout(sys.stderr):  # what it prints is no result of who asks for what there is
                found = entry.load()
                if not isinstance(found, ModuleType) and all(thing is not found for thing in self._things.values()):
                    self.admit(entry.name, found, entry.module)
        except RAISED as error:
            for name in set(self._things) - before:
                if self._homes[name] not in sys.modules:  # what failed half-way
                    del self._things[name], self._homes[name]
            said = str(error) if isinstance(error, SamattrError) else f"it does not load: {first_line(error)}"
            log.warning("%s '%s' (%s) is left out: %s", self.kind, entry.name, entry.value, said)


def home_of(thing: Any, caller: str) -> str:
    """The module that a thing is registered by.

    Args:
        thing: The thing.
        caller: The module that called for it. Where that is a helper of the project, the thing says whose it is; of
            others it may say what it likes, as `functools.wraps` has it say what it wraps.
    """
    return str(thing.__module__) if is_own(caller) else caller


def default_label(name: str) -> str:
    """What tables call a thing that says nothing else: its name, with spaces and a capital.

    >>> default_label("nearest-neighbour")
    'Nearest neighbour'
    """
    return (name[:1].upper() + name[1:]).replace("-", " ").replace("_", " ")


def is_own(module: str) -> bool:
    """Whether a module, or `module:name`, is of the project itself.

    >>> is_own("baselines.methods.tracin:tracin"), is_own("elsewhere.methods")
    (True, False)
    """
    return module.partition(":")[0].partition(".")[0] in OWN
