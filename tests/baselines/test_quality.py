"""What training made of a network, against counts by hand."""

import pytest

import samattr_ref as sr
from baselines.quality import quality
from tests.conftest import small


def test_quality_is_counted_by_hand_and_found_again(fresh_store, monkeypatch):
    run = sr.train(small(steps=8, noise=sr.LabelNoise(0.2)))
    found = quality(run)
    train, noisy = run.train, run.splits.noisy
    right = [int(run.predictions(train)[i].argmax()) == int(train.y[i]) for i in range(60)]
    wrong = noisy.nonzero()[:, 0].tolist()
    assert found.epochs == pytest.approx(8 * 20 / 60)
    assert found.unseen == 0
    assert found.training_accuracy == pytest.approx(sum(right) / 60)
    assert found.fitted == pytest.approx(sum(right[i] for i in wrong) / len(wrong))
    assert found.accuracy == pytest.approx(run.accuracy(run.splits.validation))
    monkeypatch.setattr(sr.Run, "predictions", lambda *_: pytest.fail("computed again"))
    assert quality(run) == found


def test_points_that_were_never_seen_are_counted_and_without_wrong_labels_none_is_fitted():
    found = quality(sr.train(small(steps=2, noise=None)))
    assert found.unseen == pytest.approx(1 / 3)
    assert found.fitted is None


def test_a_run_that_is_held_against_other_points_has_their_accuracy(fresh_store):
    few, many = (sr.train(small(n_validation=count)) for count in (9, 150))
    assert few.key == many.key
    found = [quality(run).accuracy for run in (few, many)]
    assert found == [run.accuracy(run.splits.validation) for run in (few, many)]
    assert found[0] != found[1]
