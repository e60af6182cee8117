"""Agreement with leave-one-out and with subset retraining."""

import pytest

from baselines.studies.loo_and_lds import fidelity
from tests.conftest import small


@pytest.mark.slow
def test_lds_and_agreement_are_near_one_for_the_exact_derivative():
    frame = fidelity(small("digits-mlp", hidden=(6,)), ["sam-unrolled", "random"], (0.05, 0.2), 12).set_index("method")
    assert (frame.loc["sam-unrolled", ["spearman", "lds_0.05", "lds_0.2"]] > 0.9).all()
    assert (frame.loc["random", ["spearman", "lds_0.05", "lds_0.2"]].abs() < 0.5).all()
    assert (frame["trainings"] > 0).all()


def test_a_method_that_fails_is_a_row_that_says_why():
    frame = fidelity(small(), ["sam-gif"], (), 0, {"sam-gif": {"checkpoints": 500}})
    assert "number of steps" in frame["status"].iloc[0]
