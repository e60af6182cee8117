"""Wrong labels found by scores, by self-influence and by confident learning."""

import numpy as np
import pytest
import torch

import samattr_ref as sr
from baselines.studies.detection import CONFIDENT_LEARNING, SELF_INFLUENCE, detection, held_out_probabilities
from baselines.truth import leave_one_out, retraining_truth
from samattr_ref.support.seeds import stream
from tests.conftest import small

WORKLOAD = small(n_train=50, n_validation=40)


@pytest.fixture(scope="module")
def truth():
    return leave_one_out(sr.train(WORKLOAD))


def test_detection(truth):
    frame = detection(truth.run, ["loo", "sam-if", "random"], ["if"], WORKLOAD, truth, folds=3)
    ways = [("loo", ""), ("sam-if", ""), ("random", ""), ("if", SELF_INFLUENCE), (CONFIDENT_LEARNING, "")]
    assert list(frame.groupby(["method", "how"], sort=False).groups) == ways
    for _, part in frame.groupby("method"):
        assert part["found"].is_monotonic_increasing
        assert part["found"].iloc[[0, -1]].tolist() == [0, 1]
    auc = frame.groupby("method")["auc"].first()
    assert auc["loo"] > 0.8
    assert auc["if"] > 0.7
    assert frame.loc[frame["method"] == "if", "precision"].isna().all()
    row = frame[frame["method"] == "loo"].iloc[0]
    flagged, noisy = truth.influence.cpu() < 0, truth.run.splits.noisy
    assert row["precision"] == pytest.approx(float((flagged & noisy).sum() / flagged.sum()))
    assert row["recall"] == pytest.approx(float((flagged & noisy).sum() / noisy.sum()))
    with pytest.raises(sr.SamattrError, match="need a ground truth"):
        detection(truth.run, ["loo"], [], WORKLOAD)


def test_held_out_probabilities_come_from_the_run_without_the_fold(truth):
    run = truth.run
    order = torch.randperm(run.n_train, generator=stream(run.workload.seed, "folds", 5))
    fold = order.tensor_split(5)[2]
    omega = retraining_truth(run, [fold]).parameters[0]
    expected = run.predictions(run.train.take(fold), omega).cpu().numpy()
    np.testing.assert_allclose(held_out_probabilities(run, 5)[fold], expected, rtol=1e-8)
