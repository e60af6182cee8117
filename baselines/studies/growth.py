"""How long methods take as problems grow, and how long their formulas say that they should."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from baselines.measure import Cost, measured
from baselines.studies.cases import Case
from samattr_ref.attribution import influence_score
from samattr_ref.registry import get_method
from samattr_ref.training import train
from samattr_ref.workload import Workload

EXPECTED: dict[str, dict[str, Any]] = {
    "training": {"formula": "T B F", "n": 0, "P": 1, "T": 1},
    "retraining": {"formula": "Q T B F", "n": 0, "P": 1, "T": 1, "Q": 1},
    "sam-unrolled": {"formula": "Q T B F", "n": 0, "P": 1, "T": 1, "Q": 1},
    "sam-unrolled forward": {"formula": "Q T B F", "n": 0, "P": 1, "T": 1, "Q": 1},
    "sam-hif-implicit": {"formula": "Q K n F", "n": 1, "P": 1, "Q": 1},
    "sam-if": {"formula": "Q K n F", "n": 1, "P": 1, "Q": 1},
    "sam-hif": {"formula": "Q K n F", "n": 1, "P": 1, "Q": 1},
    "sam-hif-fast": {"formula": "J n F", "n": 1, "P": 1, "T": 0, "J": 1, "Q": 1},
    "sam-gif": {"formula": "T B F", "n": 0, "P": 1, "T": 1, "Q": 1},
    "sam-gif from checkpoints": {"formula": "C n F", "n": 1, "P": 1, "C": 1, "Q": 1},
    "if": {"formula": "Q K n F", "n": 1, "P": 1, "Q": 1},
    "tracin": {"formula": "T (B + m) F", "n": 0, "P": 1, "T": 1, "Q": 1},
    "tracin-cp": {"formula": "C (n + m) F", "n": 1, "P": 1, "T": 0, "C": 1, "Q": 1},
    "grad-dot": {"formula": "n F", "n": 1, "P": 1, "Q": 1},
    "random": {"formula": "n Q", "n": 1, "Q": 1},
}
"""Cost of one mean query over m validation points, by method: the formula, and its exponent in each axis. Q: of that
many queries scored apart, of removed groups where parameters are what is predicted; K: iterations of a solver, each a
few products with the curvature of all n points."""

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
        methods: The methods.

    Returns:
        Rows `method`, `axis`, `size`, `seconds`, `memory_bytes`.
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
        costs: list[Cost] = []
        while len(costs) < REPEATS and sum(cost.runtime_s for cost in costs) < ENOUGH_SECONDS:
            fresh = run.fresh()
            with measured() as cost:
                influence_score(fresh, name, run.splits.validation, **options)
            costs.append(cost)
        seconds = min(cost.runtime_s for cost in costs)
        memory = max(cost.peak_memory_bytes for cost in costs)
        rows.append({"method": name, "axis": axis, "size": size, "seconds": seconds, "memory_bytes": memory})
    return pd.DataFrame(rows)


def expected_exponent(name: str, axis: str) -> int:
    """The exponent that a method's formula has in an axis; in n at a fixed number of epochs: steps grow with n.

    >>> expected_exponent("sam-gif", "n"), expected_exponent("grad-dot", "n"), expected_exponent("grad-dot", "C")
    (1, 1, 0)
    """
    powers = EXPECTED[name]
    return powers.get(axis, 0) + (powers.get("T", 0) if axis == "n" else 0)


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
    return [name for name in METHODS if case.arguments["axis"] in EXPECTED[name]]


CASES = {"desk": _cases()}
