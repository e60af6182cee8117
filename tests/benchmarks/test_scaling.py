"""The time of every scoring method grows as the number of training points does."""

import time

import pytest
import torch

from baselines.studies.growth import log_slope, paths
from benchmarks import bench_scaling
from benchmarks.common import hot_path, mean_query, problem
from samattr_ref import methods, train

TOLERANCE = 0.25
SIZES = (1000, 2000, 4000, 8000, 16000)
ROUNDS, ENOUGH = 2, 6
"""Rounds at least, and at most: what else a machine does only ever adds to a time."""


def problem_for(name, n):
    """One at which n outweighs what a call costs at any size."""
    if name in bench_scaling.SOLVES:
        return problem(n, 512, steps=1, batch_size=n, n_validation=50)
    if name in bench_scaling.STEPS:
        return problem(n, 32, steps=2 * n // 50, batch_size=50, n_validation=50)
    n_validation = 50 if methods()[name].linear else 1000  # where the mean is no query, they are what takes time
    return problem(n, 2048, steps=2, batch_size=n, n_validation=n_validation)


@pytest.fixture
def one_thread():
    """Seconds of the process say nothing of what else the machine does, but add up over threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize("name", [name for name in paths() if name in methods()])
def test_sixteen_times_the_points_take_sixteen_times_as_long(name, one_thread):
    """Within a quarter; the benchmarks are held to a tenth, on an idle machine."""
    runs = {n: train(problem_for(name, n), "all") for n in SIZES}
    hot_path(name, runs[SIZES[0]], mean_query(name, runs[SIZES[0]]))()  # torch warms up at the first use
    seconds = {n: float("inf") for n in SIZES}
    slope = float("inf")
    for done in range(ENOUGH):
        if done >= ROUNDS and abs(slope - 1) < TOLERANCE:
            break
        for n, run in runs.items():
            run.cache.clear()
            began = time.process_time()
            hot_path(name, run, mean_query(name, run))()
            seconds[n] = min(seconds[n], time.process_time() - began)
        slope = log_slope(list(seconds), list(seconds.values()))
    print(f"{name}: slope {slope:.2f}, {seconds[SIZES[0]] * 1e3:.1f} to {seconds[SIZES[-1]] * 1e3:.1f} ms")
    assert abs(slope - 1) < TOLERANCE
