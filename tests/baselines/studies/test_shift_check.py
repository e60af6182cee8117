"""Scores of one validation set on another."""

import pytest

from baselines.studies.shift_check import COMPARED, shift_check
from tests.conftest import small

WORKLOAD = small(n_train=50, n_validation=40)


@pytest.mark.slow
def test_shift_check():
    frame = shift_check(WORKLOAD, ["negative", "classes"])
    assert list(frame["method"]) == list(COMPARED) * 2
    exact = frame[frame["method"] == "loo"]
    assert exact["loo_after"].tolist() == pytest.approx([1, 1])
    assert exact["loo_before"].tolist() == pytest.approx(exact["rank_agreement"].tolist())
    assert frame[["gain_before", "gain_after"]].abs().le(1).all().all()
