"""Kinds of the most harmful points."""

import numpy as np
import pytest

import samattr_ref as sr
from baselines.studies.kinds_of_points import harmful
from baselines.truth import leave_one_out
from tests.conftest import small

WORKLOAD = small(n_train=50, n_validation=40)


@pytest.fixture(scope="module")
def truth():
    return leave_one_out(sr.train(WORKLOAD))


def test_harmful(truth):
    frame = harmful(WORKLOAD, "loo", 6)
    noisy = truth.run.splits.noisy.numpy()
    assert ((frame["kind"] == "wrong") == noisy).all()
    assert ((frame["given"] != frame["clean"]) == noisy).all()
    kept = frame["image"].notna()
    assert set(np.flatnonzero(kept)) == set(np.argsort(frame["score"], kind="stable")[:6])
    assert set(frame["kind"]) <= {"wrong", "rare", "hard", "none"}
