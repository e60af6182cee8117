"""Input of every kind at the public interface: what comes back is right in its shape and finite, or one line."""

import math
import time
import warnings
from collections import Counter

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import baselines
import samattr_ref as sr

HANG_SECONDS = 10.0
METHODS = ("tracin", "tracin-cp", "grad-dot", "sam-gif", "if", "sam-if", "sam-hif-implicit", "sam-unrolled", "loss")
NUMBERS = (0.0, 1e-30, 1e-8, 1.0, 3.0, 1e10, 1e30, -1.0, math.nan, math.inf, 5, "0.1", None, True)
KINDS = ("float32", "float16", "uint8", "object", "strided", "nan", "wide", "list")


def mostly(*good, odd):
    """One of the good values, and one time in ten an odd one."""
    return st.integers(0, 9).flatmap(lambda chance: st.sampled_from(odd if chance == 0 else good))


@st.composite
def points(draw):
    """Inputs and labels: ordinary, empty, single, of one class, constant, of odd types, strides and shapes."""
    n, d = draw(mostly(30, 40, odd=(0, 1, 2, 12))), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    x = rng.normal(size=(n, d)) * draw(mostly(1.0, odd=(0.0, 1e-20, 1e3, 1e20)))
    y = rng.integers(0, draw(mostly(2, 3, 4, odd=(1,))), n)
    kind = draw(mostly("as it is", odd=KINDS))
    if kind in ("float32", "float16"):
        with np.errstate(over="ignore"):
            x = x.astype(kind)
    elif kind == "uint8":
        x = rng.integers(0, 255, (n, d)).astype(np.uint8)
    elif kind == "object":
        y = y.astype(object)
    elif kind == "strided":
        x = np.repeat(x, 2, axis=1)[:, ::2]
    elif kind == "nan" and x.size:
        x.flat[0] = np.nan
    elif kind == "wide":
        y = y[: max(0, n - 1)]
    elif kind == "list":
        return x.tolist(), y.tolist()
    return (x, y) if draw(st.booleans()) or kind == "object" else (torch.as_tensor(x), torch.as_tensor(y))


@st.composite
def asked(draw):
    """A workload, a method, its options and groups to remove, as a user might write them."""
    recipe = {
        "steps": draw(mostly(1, 2, 5, odd=(0, -1, 2.5))),
        "batch_size": draw(mostly(None, 2, 7, odd=(0, -3, 1, 1000))),
        "learning_rate": draw(mostly(0.1, odd=NUMBERS)),
        "rho": draw(mostly(0.05, 0.0, odd=NUMBERS)),
        "momentum": draw(mostly(0.0, 0.9, odd=(1.0, -0.1))),
        "weight_decay": draw(mostly(1e-3, odd=(0.0, -1.0))),
        "p": draw(mostly(2.0, odd=(1.0, math.inf, 0.5))),
    }
    data = {
        "n_train": draw(mostly(6, 20, odd=(1, 2, 0, -1))),
        "n_query": draw(mostly(1, 3, odd=(0,))),
        "n_tuning": draw(st.integers(1, 2)),
        "n_validation": draw(st.integers(1, 2)),
    }
    options = {}
    if draw(st.integers(0, 4)) == 0:
        name = draw(st.sampled_from(["damping", "solver", "curvature", "tolerance", "checkpoints", "nothing"]))
        options[name] = draw(st.sampled_from([0.0, -1.0, 1e-3, "cg", "hessian", math.nan, 3, None, "dense", 10**6]))
    groups = draw(mostly(None, [[0]], [[0, 1], [2]], odd=([[0, 0]], [[]], [[10**6]], [[-1]], [])))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    return draw(points()), recipe, data, draw(st.sampled_from(METHODS)), options, dtype, groups


def tried(case, seen: Counter) -> None:
    """One case: scores of the right shape that are finite, or a mistake that is named in one line."""
    pair, recipe, data, method, options, dtype, groups = case
    began = time.monotonic()
    try:
        source = sr.Points(data=pair, **data)
        run = sr.train(sr.Workload("fuzzed", source, sr.MLP((3,)), sr.SamRecipe(**recipe), dtype=dtype))
        scores = sr.attribute(run, method, **options).values
        assert scores.shape == (run.n_train, len(run.splits.queries)), scores.shape
        assert bool(torch.isfinite(scores).all()), "scores are not finite"
        if groups is not None:
            truth = baselines.retraining_truth(run, groups)
            assert bool(torch.isfinite(truth.values).all())
        seen["answered"] += 1
    except sr.SamattrError as error:
        assert str(error) and "\n" not in str(error), str(error)
        seen["refused"] += 1
    assert time.monotonic() - began < HANG_SECONDS, time.monotonic() - began


def campaign(count: int, same: bool = False) -> dict:
    """Try `count` cases, other ones each time or always the same.

    Returns:
        How many were answered and how many refused.

    Raises:
        AssertionError: for what is neither, as hypothesis reduced it.
    """
    seen: Counter = Counter()

    @settings(
        max_examples=count, deadline=None, database=None, derandomize=same, suppress_health_check=list(HealthCheck)
    )
    @given(asked())
    def every(case):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tried(case, seen)

    every()
    return {"cases": sum(seen.values()), **dict(seen)}
