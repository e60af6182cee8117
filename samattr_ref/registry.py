"""The methods that there are: registered by a decorator, by an entry point, or named by a user."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from importlib.metadata import entry_points
from typing import Any, TypeVar

from torch import Tensor

from samattr_ref.run import Run
from samattr_ref.support.errors import SamattrError, unknown_name
from samattr_ref.support.options import Option
from samattr_ref.support.references import load_reference

F = TypeVar("F", bound=Callable[..., Any])
Change = Callable[..., Tensor]

ENTRY_POINTS = "samattr.methods"

DENSE_VECTORS = 16
"""Vectors of all parameters that one solve holds at once: solution, residual, directions, products and their sums."""


@dataclass(frozen=True)
class Method:
    """A registered attribution method.

    Attributes:
        name: Its name in tables and on the command line.
        function: `(run, queries, **options)` to a tensor or `Scores` of shape [n_train, n_query].
        summary: What it computes, in one line.
        source: Where it comes from.
        change: `(run, groups, **options)` to the predicted parameter change of removing each group, [n_groups, P]; None
            where the method does not define one.
        options: Its options by name.
        tune: Values to choose from on held-out queries, by option.
        linear: Whether scores are linear in the query's loss, so that the mean over queries is one query.
        query_bytes: About what one query takes beside its scores while it is scored: many are scored in blocks that
            fit in memory. None: all queries in one call.
    """

    name: str
    function: Callable[..., Any]
    summary: str = ""
    source: str = ""
    change: Change | None = None
    options: Mapping[str, Option] = field(default_factory=dict)
    tune: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    linear: bool = False
    query_bytes: Callable[[Run], int] | None = None

    def check(self, options: Mapping[str, Any]) -> None:
        """Refuse options that it does not have, and values of another kind than an option takes.

        Raises:
            SamattrError: naming the nearest option, or what it takes.
        """
        for name, value in options.items():
            if name not in self.options:
                raise unknown_name(f"option of {self.name}", name, self.options)
            option = self.options[name]
            if not option.takes(value):
                raise SamattrError(f"option {name} of {self.name} cannot be {value!r}: it takes {option}")


_METHODS: dict[str, Method] = {}


def dense_query(run: Run) -> int:
    """What a query takes where its gradient is formed and a system is solved for it: vectors of all parameters."""
    return DENSE_VECTORS * run.parameters.nbytes


def factored_query(run: Run) -> int:
    """What a query takes where its gradient stays in factors, see `samattr_ref.network.sample_gradients`."""
    return run.objective.query_bytes(run.train.x, run.train.y)


def method(
    name: str,
    *,
    summary: str,
    source: str,
    change: Change | None = None,
    options: type | None = None,
    tune: Mapping[str, tuple[Any, ...]] | None = None,
    linear: bool = False,
    query_bytes: Callable[[Run], int] | None = dense_query,
) -> Callable[[F], F]:
    """Register a function `(run, queries, **options)` as an attribution method.

    Args:
        name: Its name.
        summary: What it computes, in one line.
        source: Where it comes from.
        change: The parameter change that it predicts, see `Method`.
        options: A dataclass of its options, where its signature does not list them.
        tune: Values to choose from on held-out queries, by option.
        linear: Whether scores are linear in the query's loss, see `Method`.
        query_bytes: What one query takes, see `Method`.
    """

    def register(function: F) -> F:
        _METHODS[name] = Method(
            name, function, summary, source, change, _options(function, options), tune or {}, linear, query_bytes
        )
        return function

    return register


def methods() -> dict[str, Method]:
    """All registered methods by name, those of installed packages among them.

    Raises:
        SamattrError: if an installed package registers one that does not load.
    """
    for entry in entry_points(group=ENTRY_POINTS):
        if entry.name not in _METHODS:
            try:
                function = entry.load()
            except Exception as error:  # whatever another package raises while it is imported
                raise SamattrError(f"the method '{entry.name}' ({entry.value}) does not load: {error}") from error
            _METHODS.setdefault(entry.name, _plain(entry.name, function))
    return dict(_METHODS)


def get_method(name: str) -> Method:
    """A method by name, or a user's own as `package.module:function` or `path/to/file.py:function`.

    Raises:
        SamattrError: if there is none.
    """
    if ":" in name:
        function = load_reference(name)
        if not callable(function):
            raise SamattrError(f"{name} is not a function (run, queries, **options)")
        return _plain(name, function)
    known = methods()
    if name not in known:
        raise unknown_name("method", name, known)
    return known[name]


def as_method(method: str | Callable[..., Any]) -> Method:
    """A method by its name, or a function as a method."""
    return get_method(method) if isinstance(method, str) else _plain(_name(method), method)


def _plain(name: str, function: Callable[..., Any]) -> Method:
    """A function that nobody registered, as a method."""
    registered = [known for known in _METHODS.values() if known.function is function]
    if registered:
        return registered[0]
    summary = (inspect.getdoc(function) or "").split("\n")[0]
    return Method(name, function, summary, options=_options(function, None))


def _options(function: Callable[..., Any], declared: type | None) -> dict[str, Option]:
    if declared is not None and is_dataclass(declared):
        return {f.name: Option.from_annotation(f.default, f.type) for f in fields(declared)}
    parameters = list(inspect.signature(function).parameters.values())[2:]
    return {
        p.name: Option.from_annotation(p.default, p.annotation)
        for p in parameters
        if p.kind is not inspect.Parameter.VAR_KEYWORD
    }


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)
