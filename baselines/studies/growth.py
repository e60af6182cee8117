"""How long methods take as problems grow, and how long their formulas say that they should."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from baselines.measure import Cost, measured
from baselines.studies.cases import Case
from samattr_ref import registry
from samattr_ref.attribution import influence_score
from samattr_ref.growth import Growth
from samattr_ref.registry import Family, Method, get_method
from samattr_ref.run import Run
from samattr_ref.support.timing import noted, undisturbed
from samattr_ref.training import train
from samattr_ref.workload import Workload


@dataclass(frozen=True)
class Path:
    """Something whose cost is measured as problems grow: training, retraining, or a way to use a method.

    Attributes:
        growth: How its cost grows.
        method: The method; None where there is none.
        options: The method's options.
        change: Whether it predicts parameter changes of removed groups, and not scores.
        how: How the method is used, in the words of its label; empty is the method's own way.
    """

    growth: Growth
    method: Method | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    change: bool = False
    how: str = ""

    @property
    def family(self) -> Family | None:
        """The method's."""
        return self.method.family if self.method else None

    @property
    def carries(self) -> bool:
        """Whether something is carried through every step for each query or removed group."""
        return self.family is Family.DERIVATIVE or (self.method is None and self.growth.Q > 0)


def paths() -> dict[str, Path]:
    """What the scaling benchmarks measure, in the order of tables: every method that says how its cost grows.

    A method's other ways follow it, each under its name with what the way adds.

    >>> list(paths())[:4]
    ['training', 'retraining', 'sam-unrolled', 'sam-unrolled forward']
    """
    found = {
        "training": Path(Growth("T B F", P=1, T=1)),
        "retraining": Path(Growth("Q T B F", P=1, T=1, Q=1)),
    }
    for name, method in registry.methods().items():
        if method.growth is not None:
            found[name] = Path(method.growth, method, method.benchmark)
        for adds, way in method.ways.items():
            found[f"{name} {adds}"] = Path(way.growth, method, way.options, way.change, way.label)
    return found


REPEATS, ENOUGH_SECONDS = 3, 5.0
"""Calls of a method, and how long they may take together before no other is begun."""


METHODS = ("grad-dot", "sam-gif", "tracin", "tracin-cp", "sam-hif-fast")
"""The methods that the page compares; the scaling benchmarks time every one."""


def time_methods(workload: Workload, axis: str, size: int, methods: Sequence[str]) -> pd.DataFrame:
    """Seconds (the fastest of up to `REPEATS` calls) and peak memory of the Influence Scores of all points.

    Args:
        workload: The workload, its n, P and T already set.
        axis: `n`, `P`, `T`, `C` or `J`.
        size: The size on that axis; set as an option for C and J.
        methods: Their names.

    Returns:
        Rows `method`, `axis`, `size`, `seconds`, `memory_bytes`, `load` and `disturbed` (see
        `samattr_ref.support.timing`).
    """
    run = train(workload)
    rows = []
    for name in methods:
        known = get_method(name).options
        options: dict[str, Any] = {}
        if "order" in known:  # damped so that the series does not grow, and never cut short
            options = {"curvature": "gauss-newton", "damping": 0.03, "tolerance": 0.0}
        if axis in ("C", "J"):
            options["checkpoints" if axis == "C" else "order"] = size
        call = partial(_influence, run, name, options)
        costs: list[Cost] = []
        while len(costs) < REPEATS and sum(cost.seconds for cost in costs) < ENOUGH_SECONDS:
            costs.append(measured(call, tries=1)[1])
        fastest = min(undisturbed(costs), key=lambda cost: cost.seconds)
        memory = max(cost.peak_memory_bytes for cost in costs)
        row = {"method": name, "axis": axis, "size": size, "seconds": fastest.seconds, "memory_bytes": memory}
        rows.append(row | noted(fastest))
    return pd.DataFrame(rows)


def _influence(run: Run, name: str, options: Mapping[str, Any]) -> None:
    influence_score(run.fresh(), name, run.splits.validation, **options)


def log_slope(sizes: Sequence[float] | np.ndarray, seconds: Sequence[float] | np.ndarray) -> float:
    """Slope of log seconds over log size, by least squares over all sizes.

    >>> round(log_slope([1, 2, 4], [3, 12, 48]), 2)
    2.0
    """
    x, y = (np.log(np.asarray(values, dtype=float)) for values in (sizes, seconds))
    return float(np.polyfit(x, y, 1)[0])


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """`log_slope` over the larger half of the sizes, at least three.

    >>> round(exponent([1, 2, 4, 8, 16], [9, 9, 10, 20, 40]), 2)
    1.0
    """
    order = np.argsort(sizes)[-max(3, -(-len(sizes) // 2)) :]
    return log_slope(np.asarray(sizes)[order], np.asarray(seconds)[order])


def _cases() -> list[Case]:
    small = {"hidden": (32,), "steps": 50}
    sizes, widths, counts = (1000, 2000, 4000, 8000, 16000), (32, 64, 128, 256, 512), (20, 40, 80, 160, 320)
    points = [Case("mnist-mlp", {**small, "n_train": n}, {"axis": "n", "size": n}) for n in sizes]
    wide = [Case("mnist-mlp", {**small, "hidden": (w,)}, {"axis": "P", "size": 795 * w + 10}) for w in widths]
    steps = [Case("digits-mlp", {"steps": t}, {"axis": "T", "size": t}) for t in (25, 50, 100, 200, 400)]
    checkpoints = [Case("digits-mlp", {}, {"axis": "C", "size": c}) for c in counts]
    orders = [Case("digits-mlp", {}, {"axis": "J", "size": j}) for j in counts]
    cases = [*points, *wide, *steps, *checkpoints, *orders]
    return [
        Case(c.workload, {**c.settings, "n_tuning": 1, "n_query": 1}, {**c.arguments, "methods": _methods(c)})
        for c in cases
    ]


def _methods(case: Case) -> list[str]:
    """Those that an axis means something to: C and J are options, and what looks at the end alone takes no steps."""
    axis = case.arguments["axis"]
    known = {name: get_method(name) for name in METHODS}
    if axis in ("C", "J"):
        return [name for name, method in known.items() if method.growth and method.growth.exponent(axis)]
    return [name for name, method in known.items() if axis != "T" or method.family is not Family.GRADIENT]


CASES = {"desk": _cases()}
