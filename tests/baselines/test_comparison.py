"""The table of metrics: what results, tables and benchmarks take from a registration."""

import numpy as np
import pytest

import baselines
from baselines import metrics
from baselines.comparison import METRICS, Comparison, Metric, metric, metrics_within, table_metrics
from baselines.studies.agreement import agreement
from baselines.truth import leave_one_out
from benchmarks import bench_methods
from samattr_ref import SamattrError, train
from tests.conftest import small


@pytest.fixture
def comparison():
    rng = np.random.default_rng(0)
    predicted, influence = rng.normal(size=(30, 4)), rng.normal(size=20)
    return Comparison(predicted, predicted + rng.normal(size=(30, 4)), influence, influence < -0.5)


def test_the_keys_of_stored_results():
    keys = {each.key for each in metrics_within("validation")}
    assert keys == {
        *("spearman_per_query", "pearson_per_query", "slope"),
        *("spearman_mean_query", "pearson_mean_query", "slope_mean_query"),
        *("relative_error", "cosine", "noise_auc", "noise_ap", "top_k_overlap_per_query"),
    }
    names = [each.name for each in metrics_within("agreement")]
    assert names == ["spearman", "pearson", "slope", "spearman_mean_query", "noise_auc", "noise_found"]
    assert [each.name for each in metrics_within("fidelity")] == ["spearman", "pearson", "slope"]


def test_values_and_intervals_are_those_of_the_functions(comparison):
    c, mean, true_mean = comparison, comparison.predicted.mean(1), comparison.true.mean(1)
    spearman = metrics.spearman_per_query(c.predicted, c.true)
    assert METRICS["spearman"].mean_of(c) == spearman.mean()
    assert METRICS["spearman"].interval_of(c, spearman) == list(metrics.mean_interval(spearman, (-1, 1))[1:])
    assert METRICS["slope_mean_query"].of(c) == metrics.slope(mean[:, None], true_mean[:, None])
    low, high = METRICS["slope_mean_query"].interval_of(c, 0.0)
    assert low < METRICS["slope_mean_query"].of(c) < high
    assert METRICS["noise_auc"].of(c) == metrics.noise_auc(c.influence, c.noisy) == 1
    assert METRICS["noise_auc"].of(Comparison(c.predicted, c.true, c.influence, c.noisy & False)) is None
    assert METRICS["cosine"].of(c) is None and np.isnan(METRICS["cosine"].mean_of(c))
    assert METRICS["cosine"].interval_of(c, None) is None


def test_losses_are_lower_where_a_value_is_better():
    assert METRICS["spearman"].loss(0.9) < METRICS["spearman"].loss(0.5)
    assert METRICS["relative_error"].loss(0.1) < METRICS["relative_error"].loss(0.2)
    assert METRICS["slope"].loss(1.1) == pytest.approx(METRICS["slope"].loss(0.9))
    tracks = {
        name for of in (bench_methods.Fidelity, bench_methods.ChangeError) for name in vars(of) if "track" in name
    }
    assert tracks == {"track_one_minus_spearman", "track_one_minus_pearson", "track_relative_error"}


@pytest.mark.slow
def test_a_metric_of_ones_own_is_in_every_result(registering, fresh_store):
    @metric("largest_error", best="lowest", caption="Largest error: over points and queries.")
    def largest_error(c):
        return np.abs(c.predicted - c.true).max()

    assert METRICS["largest_error"].heading == METRICS["largest_error"].axis_label == "Largest error"
    assert [each.name for each in table_metrics()][-3:] == ["largest_error", "runtime_s", "peak_memory_bytes"]
    workload = small()
    assert baselines.validate("grad-dot", workload).metrics["largest_error"] > 0
    assert baselines.validate("loo", workload).metrics["largest_error"] is None  # nothing to say of exact effects
    assert agreement(leave_one_out(train(workload)), "grad-dot", {})["largest_error"] > 0


def test_mistakes_in_a_metric_are_one_line(registering, comparison):
    with pytest.raises(SamattrError, match="unknown best value of the metric x, 'high': did you mean 'highest'"):
        Metric("x", best="high")
    metric("bad", needs="scores")(lambda c: 1 / 0)
    with pytest.raises(SamattrError, match="the metric bad fails: ZeroDivisionError: division by zero"):
        METRICS["bad"].of(comparison)
