"""Metrics against SciPy and scikit-learn, and intervals against what they must cover."""

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import average_precision_score

from baselines import metrics

rng = np.random.default_rng(0)
TRUTH = rng.normal(size=(40, 6))
SCORES = TRUTH + rng.normal(size=(40, 6))


def test_correlations_agree_with_scipy():
    tied = np.round(SCORES)
    for q in range(6):
        expected = scipy.stats.pearsonr(SCORES[:, q], TRUTH[:, q]).statistic
        assert metrics.pearson_per_query(SCORES, TRUTH)[q] == pytest.approx(expected)
        expected = scipy.stats.spearmanr(tied[:, q], TRUTH[:, q]).statistic
        assert metrics.spearman_per_query(tied, TRUTH)[q] == pytest.approx(expected)
    assert (metrics.pearson_per_query(np.ones((40, 6)), TRUTH) == 0).all()


def test_slope_is_one_for_scores_of_the_right_size():
    assert metrics.slope(TRUTH, TRUTH + 5 * np.arange(6)) == pytest.approx(1)
    assert metrics.slope(TRUTH / 3, TRUTH) == pytest.approx(3)
    one = scipy.stats.linregress(SCORES[:, 0], TRUTH[:, 0]).slope
    assert metrics.slope(SCORES[:, :1], TRUTH[:, :1]) == pytest.approx(one)
    assert np.isnan(metrics.slope(np.ones((40, 6)), TRUTH))
    low, high = metrics.pooled_slope_interval(SCORES, TRUTH)
    assert low < metrics.slope(SCORES, TRUTH) < high


def test_parameter_changes():
    assert metrics.cosine(TRUTH * 2, TRUTH) == pytest.approx(np.ones(40))
    assert metrics.cosine(-TRUTH, TRUTH) == pytest.approx(-np.ones(40))
    assert metrics.relative_error(TRUTH, TRUTH) == 0
    assert metrics.relative_error(np.zeros_like(TRUTH), TRUTH) == 1
    assert metrics.relative_error(1.5 * TRUTH, TRUTH) == pytest.approx(0.5)


def test_noise_detection_agrees_with_scikit_learn():
    noisy = rng.random(40) < 0.3
    influence = np.round(rng.normal(size=40) - noisy, 1)
    pairs = np.sign(influence[None, ~noisy] - influence[noisy, None])  # 1 where the wrong label has the lower score
    assert metrics.noise_auc(influence, noisy) == pytest.approx((pairs + 1).mean() / 2)
    assert metrics.noise_auc(np.where(noisy, -np.inf, influence), noisy) == 1
    assert np.isnan(metrics.noise_auc(np.where(noisy, np.nan, influence), noisy))
    curve = metrics.noise_curve(influence, noisy)
    assert curve.iloc[0].tolist() == [0, 0]
    assert curve.iloc[-1].tolist() == [1, 1]
    lowest = np.argsort(influence, kind="stable")[:10]
    assert curve["found"].iloc[10] == pytest.approx(noisy[lowest].sum() / noisy.sum())
    assert np.isnan(metrics.noise_auc(influence, np.zeros(40, dtype=bool)))

    def one_by_one(draws):
        return np.array([metrics.noise_auc(influence[rows], noisy[rows]) for rows in draws])

    assert metrics.noise_auc_interval(influence, noisy) == pytest.approx(metrics.row_interval(one_by_one, 40))
    assert np.isnan(metrics.noise_auc_interval(influence, np.zeros(40, dtype=bool))).all()


def test_lds_is_perfect_for_additive_effects():
    groups = [rng.choice(40, 5, replace=False) for _ in range(12)]
    additive = np.stack([TRUTH[group].sum(0) for group in groups])
    assert metrics.linear_datamodelling_score(TRUTH, groups, additive) == pytest.approx(np.ones(6))


def test_intervals_over_runs_are_of_their_means_and_of_one_run_over_its_queries():
    seeds = [rng.normal(mean, 0.1, size=100) for mean in (0.0, 1.0, 2.0)]
    assert metrics.interval_over_runs(seeds) == metrics.mean_interval(np.array([seed.mean() for seed in seeds]))
    assert metrics.interval_over_runs(seeds[:1]) == metrics.mean_interval(seeds[0])
    paired = metrics.paired_interval(seeds, [seed - 1 for seed in seeds])
    assert paired == pytest.approx((1, 1, 1))
    values = rng.normal(3, 1, size=200)
    low, high = metrics.row_interval(lambda rows: values[rows].mean(1), 200)
    assert low < values.mean() < high


def test_average_precision_agrees_with_scikit_learn():
    noisy = rng.random(60) < 0.3
    influence = np.round(rng.normal(size=60) - noisy, 1)
    assert metrics.noise_ap(influence, noisy) == pytest.approx(average_precision_score(noisy, -influence))
    assert metrics.noise_ap(np.where(noisy, -np.inf, influence), noisy) == 1
    assert metrics.noise_ap(np.zeros(60), noisy) == pytest.approx(noisy.mean())
    for unknown in (np.where(noisy, np.nan, influence), influence[~noisy]):
        assert np.isnan(metrics.noise_ap(unknown, noisy[: len(unknown)] & (len(unknown) == 60)))
    rows = np.random.default_rng(0).integers(60, size=(metrics.ROW_RESAMPLES, 60))
    areas = [average_precision_score(noisy[row], -influence[row]) for row in rows]
    assert metrics.noise_ap_interval(influence, noisy) == pytest.approx(np.percentile(areas, [2.5, 97.5]).tolist())
    assert np.isnan(metrics.noise_ap_interval(np.where(noisy, np.nan, influence), noisy)).all()


def test_the_overlap_of_both_ends():
    assert (metrics.top_k_overlap(3 * TRUTH + 1, TRUTH) == 1).all()
    assert (metrics.top_k_overlap(-TRUTH, TRUTH) == 0).all()
    k = 4
    for q in range(6):
        ends = [set(np.argsort(sign * values[:, q])[:k]) for sign in (1, -1) for values in (SCORES, TRUTH)]
        shares = [len(ends[i] & ends[i + 1]) / k for i in (0, 2)]
        assert metrics.top_k_overlap(SCORES, TRUTH)[q] == pytest.approx(np.mean(shares))
    tied = np.zeros((40, 6))
    assert metrics.top_k_overlap(tied, TRUTH) == pytest.approx(np.full(6, 0.1))
    tied[np.arange(40)[:, None] == TRUTH.argmax(0)] = 1  # one is named, and the others are guessed
    assert metrics.top_k_overlap(tied, TRUTH) == pytest.approx(np.full(6, ((1 + 3 * 3 / 39) / 4 + 4 / 39) / 2))


def test_found_share_and_seed_intervals():
    scores, noisy = np.array([3.0, -2, 5, -1, 0]), np.array([False, True, False, False, True])
    assert metrics.found_share(scores, noisy, 0.2) == 0.5
    assert metrics.found_share(scores, noisy, 0.6) == 1
    assert np.isnan(metrics.found_share(scores, noisy & False, 0.5))
    mean, low, high = metrics.mean_interval(np.array([1.0, 2, 3]))
    assert (mean, low, high) == pytest.approx((2, 2 - 2.484, 2 + 2.484), abs=1e-3)  # t = 4.303, s/√3 = 0.577
    assert np.isnan(metrics.mean_interval(np.array([1.0]))[1])
    assert metrics.mean_interval(np.array([1.0, np.nan, 3]))[0] == 2
    assert metrics.mean_interval(np.full(3, 0.5)) == (0.5, 0.5, 0.5)


def test_intervals_end_where_their_values_do():
    values = np.array([0.8, 0.9, 0.99])
    assert metrics.mean_interval(values)[2] > 1
    mean, low, high = metrics.mean_interval(values, (-1, 1))
    reach = 4.303 * values.std(ddof=1) / 3**0.5 / (1 - mean**2)
    assert (low, high) == pytest.approx(
        (np.tanh(np.arctanh(mean) - reach), np.tanh(np.arctanh(mean) + reach)), abs=1e-3
    )
    assert metrics.mean_interval(2 * values, (-2, 2)) == pytest.approx((2 * mean, 2 * low, 2 * high))
    assert metrics.mean_interval(values, (0, 1)) == (*metrics.mean_interval(values)[:2], 1)
    assert metrics.mean_interval(np.array([0.0, 0.1, 2.0]), (0, np.inf))[1] == 0
    assert metrics.mean_interval(np.array([1.0, 1.0, 1 - 1e-15]), (-1, 1))[2] <= 1
