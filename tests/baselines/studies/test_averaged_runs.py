"""Scores averaged over runs: what removal gains is measured on points that nothing was scored for."""

import pytest
import torch

import baselines
import samattr_ref as sr
from baselines.studies import averaged_runs
from baselines.studies.averaged_runs import measure
from tests.conftest import small


@pytest.mark.slow
def test_accuracy_is_measured_on_other_points_than_scores_are_taken_for(monkeypatch, fresh_store):
    workload = small(n_train=30, n_query=4, n_validation=40, steps=20, n_removed=None)
    validation = sr.train(workload).splits.validation
    scored, measured = [], []
    score, accuracy = averaged_runs.influence_score, sr.Run.accuracy

    def scores(run, method, points, **options):
        scored.append(points.x)
        return score(run, method, points, **options)

    def accuracies(run, points, parameters=None):
        measured.append(points.x)
        return accuracy(run, points, parameters)

    monkeypatch.setattr(averaged_runs, "influence_score", scores)
    monkeypatch.setattr(sr.Run, "accuracy", accuracies)
    rows = measure(workload, 2, ("loss",), True)
    assert set(rows["method"]) == {"loss", "loo"} and set(rows["k"]) == {1, 2}
    assert all(torch.equal(x, validation.x[::2]) for x in scored) and scored
    assert all(torch.equal(x, validation.x[1::2]) for x in measured) and measured
    run = sr.train(workload)
    half = baselines.leave_one_out(run).effects(validation.take(torch.arange(0, 40, 2))).mean(1)
    assert averaged_runs._exact(run) == pytest.approx(half.numpy())
