"""Does a method keep its contract? It is held against it on tiny networks, in seconds, before any larger truth is made.

The contract: a function `(run, queries, **options)` that returns scores s[i, q], shape [n_train, n_query]: the
predicted change of query q's loss, in nats, when training point i is removed, positive where the point helps.
A score follows from the run, the query and the options alone: not from chance, from how points are numbered, or from
which other queries are asked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from baselines import tiny
from baselines.metrics import spearman_per_query
from baselines.truth import leave_one_out
from samattr_ref.attribution import attribute
from samattr_ref.data import Examples
from samattr_ref.registry import Family, Method, as_method
from samattr_ref.run import Run
from samattr_ref.scores import Scores
from samattr_ref.support.errors import MemoryLimitError, SamattrError, first_line
from samattr_ref.support.foreign import RAISED, place
from samattr_ref.support.memory import BLOCK
from samattr_ref.support.seeds import stream
from samattr_ref.training import train

TOLERANCE = 1e-4
"""Scores that differ by less than this share of the largest are the same: a method may compute in float32."""

NEGATED = -0.2
"""Scores whose mean rank correlation with exact effects is below this are taken for negated. Of the project's methods,
the controls are within 0.1 of zero there and all others above 0.2."""

REPEATED = 3
"""So often are the queries repeated that are cut into blocks: a bound on memory that cuts them then has room for the
matrix of a linear solve, which would be solved step by step otherwise."""

FOLLOWING = (Family.DERIVATIVE, Family.TRAJECTORY)
"""The families whose methods follow the run step by step."""


@dataclass(frozen=True)
class Finding:
    """What one check of a method found.

    Attributes:
        check: The name of the check.
        passed: Whether it passed; None where it was skipped.
        line: What is wrong and what to do, or why it was skipped, in one line; empty where it passed.
    """

    check: str
    passed: bool | None
    line: str = ""

    def __str__(self) -> str:
        verdict = {True: "ok", False: "failed: ", None: "skipped: "}[self.passed]
        return f"{self.check:16}{verdict}{self.line}"


def check(method: str | Callable[..., Any], options: Mapping[str, Any] | None = None) -> list[Finding]:
    """Hold a method against its contract, on networks that are trained in a moment.

    Args:
        method: A method's name, a user's `package.module:function` or `path/to/file.py:function`, or a function.
        options: Its options.

    Returns:
        A finding for each of `CHECKS`, in their order. After the first fault in one of `FIRST` the others are skipped.

    Raises:
        SamattrError: if there is no such method, or a library is missing that it needs.
    """
    chosen = as_method(method)
    chosen.check_library()
    subject = _Subject(chosen, dict(options or {}))
    findings: list[Finding] = []
    broken = ""
    for name, look in CHECKS.items():
        findings.append(Finding(name, None, f"comes after {broken}") if broken else _find(name, look, subject))
        if name in FIRST and findings[-1].passed is False:
            broken = broken or name
    return findings


class _Skipped(Exception):  # noqa: N818 — it is no error
    """Why a check says nothing of a method."""


@dataclass
class _Subject:
    """A method with its options, the tiny runs, and what it makes of the first of them.

    Attributes:
        method: The method.
        options: Its options.
        returned: What it returned when it was first called.
        values: That as scores, [n_train, n_query] in float64.
        copies: What it read then, copied before.
    """

    method: Method
    options: dict[str, Any]
    returned: Any = None
    values: Tensor = field(default_factory=lambda: torch.empty(0, 0))
    copies: list[Tensor] = field(default_factory=list)

    @cached_property
    def run(self) -> Run:
        """The run that most checks look at."""
        return train(tiny.BATCHED)

    @cached_property
    def doubled(self) -> Run:
        """A run of full batches whose first training point is its last one, too."""
        return train(tiny.DOUBLED)

    @property
    def queries(self) -> Examples:
        """Other than there are training points."""
        return self.run.workload.queries

    @property
    def many(self) -> Examples:
        """As many as there are training points."""
        return self.run.splits.validation

    @property
    def read(self) -> dict[str, Tensor]:
        """What the method may read and has to leave alone."""
        examples = {"run.train": self.run.train, "queries": self.queries}
        own = {f"run.{name}": tensor for name, tensor in self.run.tensors().items()}
        return own | {f"{name}.{part}": getattr(given, part) for name, given in examples.items() for part in "xy"}

    def scores(self, run: Run, queries: Examples, memory_bytes: int | None = None) -> Tensor:
        """Scores as anybody asks for them, in float64."""
        found = attribute(run, self.method.function, queries, memory_bytes=memory_bytes, **self.options)
        return found.values.double().clone()

    def needs_knowledge(self) -> None:
        """Skip what nothing is known of where scores know nothing of points and queries."""
        if self.method.family is Family.CHANCE:
            raise _Skipped("scores of this family are numbers drawn by position")


Look = Callable[[_Subject], str | None]
"""A check: what is wrong, or None."""


def _find(name: str, look: Look, subject: _Subject) -> Finding:
    try:
        fault = look(subject)
    except _Skipped as reason:
        return Finding(name, None, str(reason))
    except SamattrError as error:
        fault = str(error)
    except RAISED as error:
        fault = f"it raises {first_line(error)}{place(error, subject.method.function)}"
    return Finding(name, fault is None, fault or "")


def _gap(found: Tensor, expected: Tensor) -> float:
    """The largest difference, as a share of the largest score expected."""
    difference, size = float((found - expected).abs().max()), float(expected.abs().max())
    return difference / size if size > 0 else (float("inf") if difference > 0 else 0.0)


def _compare(found: Tensor, expected: Tensor, what: str, advice: str) -> str | None:
    gap = _gap(found, expected)
    return None if gap <= TOLERANCE else f"{what} (by {gap:.1e} of the largest score): {advice}"


def _options(subject: _Subject) -> str | None:
    subject.method.check(subject.options)
    return None


def _runs(subject: _Subject) -> None:
    subject.copies = [tensor.clone() for tensor in subject.read.values()]
    subject.returned = subject.method.function(subject.run.fresh(), subject.queries, **subject.options)


def _run_unchanged(subject: _Subject) -> str | None:
    before = zip(subject.read.items(), subject.copies, strict=True)
    changed = [(name, tensor, copy) for (name, tensor), copy in before if not torch.equal(tensor, copy)]
    for _, tensor, copy in changed:
        tensor.copy_(copy)  # others read the same
    names = ", ".join(name for name, _, _ in changed)
    return f"it changes {names}, which others read: work on a copy, as by tensor.clone()" if changed else None


def _returns(subject: _Subject) -> str | None:
    found = subject.returned.values if isinstance(subject.returned, Scores) else subject.returned
    kind = type(found).__name__
    if isinstance(subject.returned, Scores) and not isinstance(found, Tensor):
        return f"it returns Scores of a {kind}: make it a tensor by torch.as_tensor"
    try:
        values = torch.as_tensor(found)
    except Exception:  # whatever objects that are no numbers raise
        return f"it returns a {kind}, not scores: return a tensor [n_train, n_query]"
    if values.layout != torch.strided or values.is_complex():
        return "it returns sparse or complex numbers: return a dense tensor of real ones"
    if values.requires_grad:
        return "it returns scores that a gradient is recorded of: return scores.detach()"
    subject.values = values.double().clone()  # a method may return the same tensor again
    return None


def _shape(subject: _Subject) -> str | None:
    shape, expected = list(subject.values.shape), [subject.run.n_train, len(subject.queries)]
    if shape == expected:
        return None
    what = f"it returns shape {shape} for [n_train, n_query] = {expected}"
    if shape == expected[::-1]:
        return f"{what}: the scores look transposed, return scores.T"
    return f"{what}: return a row for each training point and a column for each query"


def _finite(subject: _Subject) -> str | None:
    bad = (~torch.isfinite(subject.values)).nonzero().tolist()
    if not bad:
        return None
    point, query = bad[0]
    what = f"{len(bad)} of {subject.values.numel()} scores are NaN or infinite, the first that of point {point}"
    return f"{what} for query {query}: look for a division by zero, or the root or logarithm of what may be 0"


def _deterministic(subject: _Subject) -> str | None:
    again = subject.scores(subject.run.fresh(), subject.queries)
    advice = "draw from a generator that you seed, as torch.Generator().manual_seed(seed)"
    return _compare(again, subject.values, "a second call on the same run returns other scores", advice)


def _query_order(subject: _Subject) -> str | None:
    subject.needs_knowledge()
    order = _shuffled(len(subject.queries))
    found = subject.scores(subject.run, subject.queries.take(order))
    what = "scores change with the order of the queries"
    return _compare(found, subject.values[:, order], what, "let column q depend on query q alone, not on its position")


def _query_company(subject: _Subject) -> str | None:
    subject.needs_knowledge()
    alone = [subject.scores(subject.run, subject.queries.take(slice(q, q + 1))) for q in range(len(subject.queries))]
    what = "a query that is asked alone has other scores than among others"
    advice = "let column q depend on query q alone, not on sums or means over queries"
    return _compare(torch.cat(alone, dim=1), subject.values, what, advice)


def _transposed(subject: _Subject) -> str | None:
    subject.needs_knowledge()
    order = _shuffled(len(subject.many))
    before = subject.scores(subject.run, subject.many)
    after = subject.scores(subject.run, subject.many.take(order))
    what = "with as many queries as training points, scores change with the order of the queries"
    advice = "let column q depend on query q alone"
    if _gap(after, before[order]) <= TOLERANCE:
        what = "with as many queries as training points, another order of the queries reorders rows, not columns"
        advice = "the scores look transposed there, return a column for each query"
    return _compare(after, before[:, order], what, advice)


def _training_order(subject: _Subject) -> str | None:
    subject.needs_knowledge()
    workload, order = tiny.renumbered(tiny.BATCHED)
    found = subject.scores(train(workload), subject.queries)
    what = "scores change where the training points are numbered in another order, the training being the same"
    advice = "let row i depend on point i and on the batches that hold it (run.batch(t)), not on its number"
    return _compare(found, subject.values[order], what, advice)


def _chunks(subject: _Subject) -> str | None:
    subject.needs_knowledge()
    several = subject.many.take(torch.arange(REPEATED * len(subject.many)) % len(subject.many))
    whole = subject.scores(subject.run, several)
    half = len(several) // 2
    parts = [subject.scores(subject.run, several.take(part)) for part in (slice(half), slice(half, None))]
    advice = "let what is computed of a part not depend on how large the part is"
    fault = _compare(torch.cat(parts, dim=1), whole, "queries asked in two calls have other scores than in one", advice)
    if fault or subject.method.query_bytes is None:
        return fault
    each = subject.method.query_bytes(subject.run) + 2 * subject.run.n_train * subject.run.parameters.element_size()
    try:
        cut = subject.scores(subject.run.fresh(), several, BLOCK * each * (2 * len(several) // 3))
    except MemoryLimitError as error:
        raise _Skipped(f"no bound that cuts queries into blocks is enough: {error}") from error
    return _compare(cut, whole, "scores change where memory_bytes cuts the work into parts", advice)


def _duplicates(subject: _Subject) -> str | None:
    subject.needs_knowledge()
    found = subject.scores(subject.doubled, subject.doubled.workload.queries)
    expected = found.clone()
    expected[-1] = found[0]
    what = "a training point and its copy, always in the same batches, have different scores"
    return _compare(found, expected, what, "let row i depend on point i and its batches, not on its number")


def _unused_points(subject: _Subject) -> str | None:
    family = subject.method.family
    if family not in (*FOLLOWING, Family.OTHER):
        raise _Skipped(f"methods of the family '{family}' do not follow the run")
    used = subject.run.batches.unique()
    unused = [point for point in range(subject.run.n_train) if point not in used]
    expected = subject.values.clone()
    expected[unused] = 0
    what = f"point {unused[0]} is in no batch and yet has a score"
    fault = _compare(subject.values, expected, what, "training is the same without it, so that its score is 0")
    if fault and family is Family.OTHER:
        raise _Skipped(f"{what}: wrong only of a method that follows the run, and then say family='trajectory'")
    return fault


def _sign(subject: _Subject) -> str | None:
    run = subject.doubled
    scores = subject.scores(run, run.splits.validation).cpu().numpy()
    true = leave_one_out(run, "stacked").effects(run.splits.validation).cpu().numpy()
    found = float(spearman_per_query(scores, true).mean())
    if found >= NEGATED:
        return None
    what = f"scores look negated (mean rank correlation with exact leave-one-out: {found:.2f}): return their negative"
    return f"{what}; a score is positive where removing the point raises the query's loss"


def _linear(subject: _Subject) -> str | None:
    if not subject.method.linear:
        raise _Skipped("it does not say linear=True")
    found = subject.scores(subject.run, subject.queries.pool())
    what = "it says linear=True, but scores of the pooled query are not the mean over its queries"
    advice = "take gradients by run.query_gradients(queries), or leave linear=True out"
    return _compare(found, subject.values.mean(1, keepdim=True), what, advice)


def _shuffled(count: int) -> Tensor:
    return torch.randperm(count, generator=stream(0, "order of queries"))


CHECKS: dict[str, Look] = {
    "options": _options,
    "runs": _runs,
    "run-unchanged": _run_unchanged,
    "returns": _returns,
    "shape": _shape,
    "finite": _finite,
    "deterministic": _deterministic,
    "query-order": _query_order,
    "query-company": _query_company,
    "transposed": _transposed,
    "training-order": _training_order,
    "chunks": _chunks,
    "duplicates": _duplicates,
    "unused-points": _unused_points,
    "sign": _sign,
    "linear": _linear,
}
"""The checks by name, in their order."""

FIRST = ("options", "runs", "run-unchanged", "returns", "shape", "finite", "deterministic")
"""Those without which nothing can be said by the others."""
