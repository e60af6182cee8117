"""Wrong labels found at several noise rates."""

import pytest

from baselines.studies.detection import SELF_INFLUENCE
from baselines.studies.over_noise_rate import measure
from tests.conftest import small


@pytest.mark.slow
def test_exact_effects_and_self_influence_are_ways_where_every_point_can_be_left_out():
    whole = measure(small(n_train=40, n_validation=30), 0.2)
    assert {"loo", "sam-if", "gradient-norm", "random"} <= set(whole["method"])
    assert SELF_INFLUENCE in set(whole["how"])
    some = measure(small(n_train=40, n_validation=30, n_removed=4), 0.2)
    assert set(some["method"]) == set(whole.loc[whole["how"] == "", "method"]) - {"loo"}
    assert set(some["how"]) == {""}
    named = measure(small(n_train=40, n_validation=30, n_removed=4), 0.2, ["grad-dot"])
    assert set(named["method"]) == {"grad-dot"}
    assert named["auc"].iloc[0] == some.loc[some["method"] == "grad-dot", "auc"].iloc[0]
