"""Intervals hold what they say: over thousands of made-up methods of known correlation, 95 % of them hold the truth.

A method's correlation on a query is tanh(z + a + b), with a of the seed and b of the query drawn from normal
distributions of the same width. What is seen of it is the correlation of so many drawn scores with drawn effects.
"""

import numpy as np
import pytest

from baselines import metrics
from baselines.comparison import CORRELATION

SIMULATIONS, POINTS, WIDTH = 1000, 20, 0.3
SEEDS, QUERIES = (3, 5), (10, 30, 100)
HOLDS = 0.93, 0.97


def drawn(rng, centre, seeds, queries):
    """Correlations that are seen, [simulations, seeds, queries]."""
    a, b = rng.normal(0, WIDTH, (SIMULATIONS, seeds, 1)), rng.normal(0, WIDTH, (SIMULATIONS, seeds, queries))
    return seen(rng, np.tanh(centre + a + b))


def seen(rng, correlation):
    flat = correlation.reshape(-1).astype(np.float32)
    true, others = (rng.standard_normal((POINTS, len(flat)), dtype=np.float32) for _ in range(2))
    return metrics.pearson_per_query(flat * true + np.sqrt(1 - flat**2) * others, true).reshape(correlation.shape)


def expected(centre):
    """The mean of what is seen, over many effects: of n points a correlation r is seen as r − r (1 − r²) / 2n."""
    r = np.tanh(centre + np.random.default_rng(1).normal(0, WIDTH, (2, 400_000)).sum(0))
    return float((r - r * (1 - r**2) / (2 * POINTS)).mean())


def held(intervals, truth):
    return np.mean([low <= value <= high for (_, low, high), value in zip(intervals, truth, strict=True)])


@pytest.mark.slow
@pytest.mark.parametrize("centre", [0.0, 1.0])
@pytest.mark.parametrize("seeds", SEEDS)
def test_over_seeds_and_queries(seeds, centre):
    truth = expected(centre)
    for queries in QUERIES:
        values = drawn(np.random.default_rng([0, seeds * queries]), centre, seeds, queries)
        found = [metrics.interval_over_runs(list(one), CORRELATION) for one in values]
        assert all(-1 <= low <= mean <= high <= 1 for mean, low, high in found)
        assert HOLDS[0] <= held(found, [truth] * SIMULATIONS) <= HOLDS[1], (seeds, queries)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", SEEDS)
def test_between_two_methods_on_the_same_seeds_and_queries(seeds):
    """Half of the variance of each effect is both methods', half is each one's own."""
    truth = expected(1.0) - expected(0.7)
    for queries in QUERIES:
        rng = np.random.default_rng([0, seeds * queries])
        shapes = (SIMULATIONS, seeds, 1), (SIMULATIONS, seeds, queries)
        shared, *own = ([rng.normal(0, WIDTH / 2**0.5, shape) for shape in shapes] for _ in range(3))
        first, second = (
            seen(rng, np.tanh(centre + sum(shared) + sum(effects)))
            for centre, effects in zip((1.0, 0.7), own, strict=True)
        )
        pairs = zip(first, second, strict=True)
        found = [metrics.paired_interval(list(one), list(other), CORRELATION) for one, other in pairs]
        assert HOLDS[0] <= held(found, [truth] * SIMULATIONS) <= HOLDS[1], (seeds, queries)


@pytest.mark.slow
@pytest.mark.parametrize("queries", QUERIES)
def test_over_the_queries_of_one_run(queries):
    """Of that run: what another seed would have given is not in it."""
    rng = np.random.default_rng(queries)
    run = rng.normal(0, WIDTH, (SIMULATIONS, 1, 1))
    values = seen(rng, np.tanh(0.5 + run + rng.normal(0, WIDTH, (SIMULATIONS, 1, queries))))
    r = np.tanh(0.5 + run[:, 0] + rng.normal(0, WIDTH, 4000))
    truth = (r - r * (1 - r**2) / (2 * POINTS)).mean(1)
    found = [metrics.interval_over_runs([one[0]], CORRELATION) for one in values]
    assert HOLDS[0] <= held(found, truth) <= HOLDS[1]


@pytest.mark.slow
def test_a_percentile_bootstrap_over_three_seeds_would_be_seen():
    """What resampling three seeds gives is the span of their means."""
    values = drawn(np.random.default_rng(0), 0.5, 3, 100)
    rng = np.random.default_rng(0)
    means = values.mean(2)
    bounds = [np.percentile(one[rng.integers(3, size=(500, 3))].mean(1), [2.5, 97.5]) for one in means]
    assert held([(0, *pair) for pair in bounds], [expected(0.5)] * SIMULATIONS) < 0.85
