"""Marks of a result: what must be known before its numbers are believed, in plain words, read off its diagnostics.

A method may say in `Scores.diagnostics` what it likes. These names are read:

| name                   | what it says                                                 | marked          |
| ---------------------- | ------------------------------------------------------------ | --------------- |
| `status`               | how a solve ended                                            | not `converged` |
| `residual`             | the largest ‖b − A x‖/‖b‖ that it left                       | above `SOLVED`  |
| `solver`, `iterations` | what solved, and in how many steps                           | beside these    |
| `growth`               | of the adjoint back through the run, ‖dℓ_q/dω_0‖/‖dℓ_q/dω_T‖ | above `CHAOTIC` |
| `retrainings`          | of them, those of the truth, how many `diverged`             | any             |
| `marks`                | reasons in the method's own words, a list                    | each            |

They are read in the diagnostics of `PARTS` too. A series that was cut at its order, `truncated`, was asked to be: its
residual alone says whether it is marked. What diagnostics do not say is not known, and is not marked.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

SOLVED = 1e-2
"""The largest relative residual that counts as solved anywhere in the project: large networks are solved to it."""

PARTS = ("tail", "changes", "run", "truth")
"""What has diagnostics of its own: a part of a method, its parameter changes, the run and the truth."""

CHAOTIC = 10.0
"""The growth of the adjoint above which a run counts as chaotic: no derivative stands for the removal of a point.

Measured (`reports/reference/beyond/attributable.csv`, digits-mlp, one setting of its recipe varied, three activations):
of the 13 runs with a growth above it, 11 have a Spearman of the exact derivative with exact leave-one-out under 0.35;
the other two, at ρ = 1, learned little. A growth below it clears smooth networks alone: with GELU or tanh 109 of 115
such runs have a Spearman of 0.9 or more, with ReLU, whose kinks no derivative sees, one of 66."""


def marks_of(diagnostics: Mapping[str, Any]) -> list[str]:
    """The reasons to mark a result; none where its diagnostics know of none.

    >>> marks_of({"solver": "cg", "status": "max_iterations", "residual": 1.2, "iterations": 50})
    ['the solver cg stopped at residual 1.2 after 50 iterations (max iterations)']
    >>> marks_of({"growth": 1476.2})
    ['the run is chaotic (its adjoint grew 1,476-fold), and no score of it is to be trusted']
    >>> marks_of({"status": "converged", "residual": 1e-11, "truth": {"diverged": 3, "retrainings": 500}})
    ['3 of 500 retrainings diverged and are left out']
    """
    return list(dict.fromkeys(_marks(diagnostics)))


def over_seeds(each: Iterable[Sequence[str]]) -> list[str]:
    """The reasons of several seeds as those of one: of the first that is marked, and how many are.

    >>> over_seeds([[], ["grew 12-fold"], ["grew 15-fold"]])
    ['grew 12-fold (2 of 3 seeds are marked)']
    >>> over_seeds([["grew 12-fold"]]), over_seeds([[], []])
    (['grew 12-fold'], [])
    """
    seeds = list(each)
    marked = [own for own in seeds if own]
    if not marked or len(seeds) == 1:
        return list(marked[0]) if marked else []
    return [f"{'; '.join(marked[0])} ({len(marked)} of {len(seeds)} seeds are marked)"]


def _marks(diagnostics: Mapping[str, Any]) -> Iterator[str]:
    if solve := _solve(diagnostics):
        yield solve
    growth = _number(diagnostics, "growth")
    if growth is not None and not growth <= CHAOTIC:
        times = f"{growth:,.0f}" if growth < 1e6 else f"{growth:.0e}"
        yield f"the run is chaotic (its adjoint grew {times}-fold), and no score of it is to be trusted"
    for part in map(diagnostics.get, PARTS):
        if isinstance(part, Mapping):
            yield from _marks(part)
    if diverged := _number(diagnostics, "diverged"):
        yield f"{diverged} of {diagnostics['retrainings']} retrainings diverged and are left out"
    said = diagnostics.get("marks", ())
    yield from [said] if isinstance(said, str) else map(str, said)


def _solve(diagnostics: Mapping[str, Any]) -> str | None:
    """What is to be said of a solve that was not one."""
    residual, iterations = _number(diagnostics, "residual"), _number(diagnostics, "iterations")
    ended = str(diagnostics.get("status", "converged")).split(", ")
    failed = ", ".join(word.replace("_", " ") for word in ended if word not in ("converged", "truncated"))
    if not failed and (residual is None or residual <= SOLVED):
        return None
    said = f"the solver {diagnostics.get('solver', '')}".rstrip() + " stopped"
    said += "" if residual is None else f" at residual {residual:.2g}"
    said += "" if iterations is None else f" after {iterations} iterations"
    return f"{said} ({failed})" if failed else said


def _number(diagnostics: Mapping[str, Any], name: str) -> Any:
    """What a diagnostic says, where it is a number."""
    value = diagnostics.get(name)
    return value if isinstance(value, Real) and not isinstance(value, bool) else None
