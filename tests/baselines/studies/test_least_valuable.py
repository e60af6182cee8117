"""Retraining without the lowest-scored points."""

import pytest
import torch

import samattr_ref as sr
from baselines.studies.least_valuable import SHARES, WRONG, measure
from baselines.truth import retraining_truth
from tests.conftest import small


@pytest.mark.slow
def test_each_method_loses_its_lowest_scored_points_and_accuracy_is_of_the_other_half():
    workload = small(n_train=40, n_validation=30, steps=40, n_removed=4)
    frame = measure(workload)
    assert set(frame["method"]) == {*sr.methods(), WRONG}
    assert (frame["status"] == "ok").all()
    run = sr.train(workload)
    validation, places = run.splits.validation, torch.arange(30)
    scored, held_out = validation.take(places % 2 == 0), validation.take(places % 2 == 1)
    value = sr.influence_score(run, "sam-gif", scored)
    own = frame[frame["method"] == "sam-gif"].set_index("share")
    assert own.loc[0.0, "accuracy"] == run.accuracy(held_out)
    for share in SHARES:
        group = value.argsort(stable=True)[: max(1, round(share * 40))]
        (omega,) = retraining_truth(run, [group]).parameters
        assert own.loc[share, "accuracy"] == run.accuracy(held_out, omega)
        assert own.loc[share, "wrong"] == pytest.approx(float(run.splits.noisy[group].double().mean()))


@pytest.mark.slow
def test_the_wrong_labels_go_first_and_exact_effects_are_a_way_where_they_are_known():
    workload = small(n_train=40, n_validation=30, steps=40, noise=0.1)
    frame = measure(workload)
    wrong = frame[frame["method"] == WRONG].set_index("share")["wrong"]
    assert wrong[0.05] == wrong[0.1] == 1
    assert wrong[0.2] == pytest.approx(0.5)
    assert "loo" in set(frame["method"])
