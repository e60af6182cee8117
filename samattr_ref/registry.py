"""The methods that there are, and what the house knows of each: registered by a decorator, by an entry point, or named.

What tables, figures, benchmarks and generic tests need to know of a method stands in its registration, and nowhere
else: a method is its own file.
"""

import importlib.util
import inspect
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import StrEnum
from textwrap import shorten
from typing import Any, TypeVar

from torch import Tensor

from samattr_ref.growth import Growth, Way
from samattr_ref.network.functionals import LOSS
from samattr_ref.network.losses import CROSS_ENTROPY, Loss
from samattr_ref.run import Run
from samattr_ref.support.errors import SamattrError, unknown_name
from samattr_ref.support.options import Option
from samattr_ref.support.references import load_reference
from samattr_ref.support.registered import Registry, default_label, home_of

F = TypeVar("F", bound=Callable[..., Any])
Change = Callable[..., Tensor]

DENSE_VECTORS = 16
"""Vectors of all parameters that one solve holds at once: solution, residual, directions, products and their sums."""


class Family(StrEnum):
    """What kind of derivative a method's scores are."""

    DERIVATIVE = "exact derivative"
    IMPLICIT = "implicit"
    TRAJECTORY = "trajectory"
    GRADIENT = "gradient"
    CONTROL = "control"
    CHANCE = "chance"
    OTHER = "other"


@dataclass(frozen=True)
class Library:
    """A library that a method calls and that the project does not install.

    Attributes:
        module: What is imported, such as `trak`.
        package: What is installed, such as `traker`.
        install: The command that installs it.
    """

    module: str
    package: str
    install: str

    @property
    def installed(self) -> bool:
        """Whether it is there; nothing of it is imported."""
        return importlib.util.find_spec(self.module) is not None


@dataclass(frozen=True)
class Method:
    """A registered attribution method.

    Attributes:
        name: Its name on the command line and in stored results.
        function: `(run, queries, **options)` to a tensor or `Scores` of shape [n_train, n_query].
        summary: What it computes, in one line.
        source: Where it comes from.
        change: `(run, groups, **options)` to the predicted parameter change of removing each group, [n_groups, P]; None
            where the method does not define one.
        options: Its options by name.
        declared: The dataclass of its options, which refuses values; None where its signature lists them.
        tune: Values to choose from on held-out queries, by option.
        tune_large: The same for networks whose curvature does not fit as a matrix, where `tune` would take hours; None
            where that makes no difference.
        linear: Whether scores are linear in the query's loss, so that the mean over queries is one query.
        query_bytes: About what one query takes beside its scores while it is scored: many are scored in blocks that
            fit in memory. None: all queries in one call.
        label: What it is called in tables and figures.
        family: Its kind: `exact derivative` (a direction is carried through every step of the run for each query),
            `implicit` (a system is solved for each), `trajectory`, `gradient`, `control` (scores know nothing of the
            query), `chance` (scores know nothing of the points) or `other`.
        rank: Where it stands in tables and figures, the lowest first; methods without one follow by name.
        growth: How its cost grows; None where no formula is known, and it is then timed at no growing size.
        ways: Other ways to use it whose cost grows by a formula of their own, by what a row's name adds to the
            method's.
        benchmark: Options with which its work is that of `growth`, with no search and no early end: what benchmarks and
            generic tests give it.
        full_size: Options for training sets of full size, where no option can be chosen; None where it takes too long
            there.
        compared: Whether the paper's curves compare it by default, which takes its scores hundreds of times.
        library: A library that it needs and that the project does not install.
        any_functional: Whether its scores are right of whatever is attributed of a query, see
            `samattr_ref.network.functionals`, and not of its cross-entropy alone: queries enter it by
            `Run.query_values`, `Run.query_gradients` and `Run.query_directions`, or by nothing but their functional's
            sign, and training points by `Run.objective`, so that the network's loss may be any, too.
        by_name: Whether it is optional for another reason: it is for some networks or workloads alone, or an oracle.
    """

    name: str
    function: Callable[..., Any]
    summary: str = ""
    source: str = ""
    change: Change | None = None
    options: Mapping[str, Option] = field(default_factory=dict)
    declared: type | None = None
    tune: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    tune_large: Mapping[str, tuple[Any, ...]] | None = None
    linear: bool = False
    query_bytes: Callable[[Run], int] | None = None
    label: str = ""
    family: Family = Family.OTHER
    rank: float = math.inf
    growth: Growth | None = None
    ways: Mapping[str, Way] = field(default_factory=dict)
    benchmark: Mapping[str, Any] = field(default_factory=dict)
    full_size: Mapping[str, Any] | None = None
    compared: bool = True
    library: Library | None = None
    any_functional: bool = False
    by_name: bool = False

    @property
    def optional(self) -> bool:
        """Whether it is taken where it is named, and never because all methods are.

        Tables are then the same with and without its library, and on every network.
        """
        return self.by_name or self.library is not None

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", self.name)
        for options in (self.benchmark, self.full_size or {}, *(way.options for way in self.ways.values())):
            self._check_options(options)

    def check(self, options: Mapping[str, Any]) -> None:
        """Refuse to be called where its library is missing, with options that it does not have, or with other values.

        Raises:
            SamattrError: saying what to install, naming the nearest option, what it takes, why its function cannot be
                called as `(run, queries, **options)`, or what the dataclass of its options says of their values.
        """
        self.check_library()
        self._check_options(options)
        for name, option in self.options.items():
            if option.required and name not in options:
                raise SamattrError(
                    f"option {name} of {self.name} has no default: give it one, or a value by --option {name}=VALUE"
                )
        if inspect.iscoroutinefunction(self.function):
            raise SamattrError(f"{self.name} is asynchronous: a method is a plain function (run, queries, **options)")
        try:
            inspect.signature(self.function).bind(None, None, **options)
        except TypeError as error:
            raise SamattrError(f"{self.name} cannot be called as (run, queries, **options): {error}") from error
        if self.declared is not None:
            self.declared(**options)

    def check_library(self) -> None:
        """Refuse to be called where its library is missing.

        Raises:
            SamattrError: saying what to install.
        """
        if self.library is not None and not self.library.installed:
            raise SamattrError(f"{self.name} needs {self.library.package}, which is missing: {self.library.install}")

    def check_functional(self, name: str, loss: Loss = CROSS_ENTROPY) -> None:
        """Refuse what the method does not say of queries, and networks of another loss than it was written for.

        Raises:
            SamattrError: for anything but the loss, or a loss that is not plain cross-entropy, unless it takes any.
        """
        if loss != CROSS_ENTROPY and not self.any_functional:
            raise SamattrError(
                f"{self.name} is written for plain cross-entropy, and the network is trained on {loss}: take another "
                "method, or register one of your own that takes any loss with any_functional=True"
            )
        if name != LOSS.name and not self.any_functional:
            raise SamattrError(
                f"{self.name} attributes the queries' loss alone, not their {name}: ask for the loss, or register one "
                "of your own that takes any with any_functional=True"
            )

    def _check_options(self, options: Mapping[str, Any]) -> None:
        for name, value in options.items():
            if name not in self.options:
                raise unknown_name(f"option of {self.name}", name, self.options)
            option = self.options[name]
            if not option.takes(value):
                raise SamattrError(f"option {name} of {self.name} cannot be {value!r}: it takes {option}")

    def having(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the options that the method has."""
        return {name: value for name, value in options.items() if name in self.options}


def _admit(name: str, found: Any, home: str) -> None:
    if not callable(found):
        raise SamattrError("it is not a function (run, queries, **options)")
    if all(known.function is not found for known in METHODS.registered().values()):
        METHODS.add(name, _plain(name, found), home)


METHODS: Registry[Method] = Registry("method", "samattr.methods", _admit)


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
    tune_large: Mapping[str, tuple[Any, ...]] | None = None,
    linear: bool = False,
    query_bytes: Callable[[Run], int] | None = dense_query,
    label: str | None = None,
    family: Family | str = Family.OTHER,
    rank: float = math.inf,
    growth: Growth | None = None,
    ways: Mapping[str, Way] | None = None,
    benchmark: Mapping[str, Any] | None = None,
    full_size: Mapping[str, Any] | None = None,
    compared: bool = True,
    library: Library | None = None,
    any_functional: bool = False,
    by_name: bool = False,
) -> Callable[[F], F]:
    """Register a function `(run, queries, **options)` as an attribution method.

    Args:
        name: Its name.
        summary: What it computes, in one line.
        source: Where it comes from.
        change: The parameter change that it predicts, see `Method`.
        options: A dataclass of its options, where its signature does not list them.
        tune: Values to choose from on held-out queries, by option.
        tune_large: The same for large networks, see `Method`.
        linear: Whether scores are linear in the query's loss, see `Method`.
        query_bytes: What one query takes, see `Method`.
        label: What tables and figures call it; by default its name, with spaces and a capital.
        family: One of `Family`.
        rank: Where it stands in tables and figures, see `Method`.
        growth: How its cost grows, see `Method`.
        ways: Other ways to use it, see `Method`.
        benchmark: Options that benchmarks and generic tests give it, see `Method`.
        full_size: Options for training sets of full size, see `Method`.
        compared: Whether the paper's curves compare it, see `Method`.
        library: A library that it needs and that the project does not install, see `Method`.
        any_functional: Whether it attributes whatever functional of a query, see `Method`.
        by_name: Whether it is optional though it needs no such library, see `Method`.

    Raises:
        SamattrError: for a family that there is not, or options that the method does not have.
    """
    if family not in list(Family):
        raise unknown_name("family of methods", family, list(Family))
    caller = sys._getframe(1).f_globals["__name__"]

    def register(function: F) -> F:
        registered = Method(
            name=name,
            function=function,
            summary=summary,
            source=source,
            change=change,
            options=_options(function, options),
            declared=options,
            tune=tune or {},
            tune_large=tune_large,
            linear=linear,
            query_bytes=query_bytes,
            label=label or default_label(name),
            family=Family(family),
            rank=rank,
            growth=growth,
            ways=ways or {},
            benchmark=benchmark or {},
            full_size=full_size,
            compared=compared,
            library=library,
            any_functional=any_functional,
            by_name=by_name,
        )
        METHODS.add(name, registered, home_of(function, caller))
        return function

    return register


def methods(*, optional: bool = False) -> dict[str, Method]:
    """All methods by name, those of installed packages among them, in the order of tables: by rank, then by name.

    Args:
        optional: Whether the optional ones are among them, their libraries there or not. They are found by their
            names, and no table has them that does not name them.

    >>> list(methods())[:3]
    ['sam-unrolled', 'sam-hif-implicit', 'sam-if']
    >>> "ekfac" in methods(), "ekfac" in methods(optional=True)
    (False, True)
    """
    order = sorted(METHODS.values(), key=lambda known: (known.rank, known.name))
    return {known.name: known for known in order if optional or not known.optional}


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
    return METHODS.named(name)


TAKEN = ("memory_bytes", "runs")
"""What `attribute` takes beside a method's options."""


def as_method(method: str | Callable[..., Any] | Method) -> Method:
    """A method by its name, or a function as a method; one as it is.

    Raises:
        SamattrError: if there is none of that name, or it is none of these.
    """
    if isinstance(method, Method):
        return method
    if isinstance(method, str):
        return get_method(method)
    if not callable(method):
        given = shorten(repr(method), 80)
        raise SamattrError(f"a method is a name or a function (run, queries, **options), not {given}")
    return _plain(_name(method), method)


def _plain(name: str, function: Callable[..., Any]) -> Method:
    """A function that nobody registered, as a method."""
    for known in METHODS.registered().values():
        if known.function is function:
            return known
    summary = (inspect.getdoc(function) or "").split("\n")[0]
    return Method(name, function, summary, options=_options(function, None))


def _options(function: Callable[..., Any], declared: type | None) -> dict[str, Option]:
    if declared is not None and is_dataclass(declared):
        found = {f.name: Option.from_annotation(f.default, f.type) for f in fields(declared)}
    else:
        try:
            parameters = list(inspect.signature(function).parameters.values())[2:]
        except ValueError as error:  # of what is written in another language
            raise SamattrError(
                f"{_name(function)} does not say what it takes: call it from a function (run, queries, **options)"
            ) from error
        found = {
            p.name: Option.from_annotation(p.default, p.annotation)
            for p in parameters
            if p.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        }
    for name in TAKEN:
        if name in found:
            raise SamattrError(f"{_name(function)} has an option {name}, which attribute takes itself: rename it")
    return found


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)
