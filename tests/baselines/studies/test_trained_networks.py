"""What training makes of a workload, epoch by epoch."""

from dataclasses import replace

import numpy as np
import pytest

import samattr_ref as sr
from baselines.studies.trained_networks import measure
from tests.conftest import small


def test_each_run_has_its_own_seed_from_the_start_to_its_end():
    workload = small(n_train=40, steps=20)
    frame = measure(workload, runs=2)
    for i, part in frame.groupby("run"):
        run = sr.train(replace(workload, seed=workload.seed + i))
        first, last = part.iloc[0], part.iloc[-1]
        assert (first["step"], first["epoch"], last["step"]) == (0, 0, run.n_steps)
        assert first["accuracy"] == run.accuracy(run.splits.validation, run.checkpoints[0])
        assert last["accuracy"] == last["final_accuracy"] == run.accuracy(run.splits.validation)
        assert last["epoch"] == pytest.approx(last["final_epochs"])
        assert last["fitted"] == pytest.approx(last["final_fitted"])
        assert (np.diff(part["step"]) > 0).all()
        assert set(part["n_parameters"]) == {len(run.parameters)}
    assert frame["run"].nunique() == 2


def test_without_wrong_labels_none_is_fitted():
    frame = measure(small(n_train=20, steps=10, noise=None), runs=1)
    assert frame["fitted"].isna().all()
