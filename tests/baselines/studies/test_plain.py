"""Plain training is the run itself."""

import pytest

import samattr_ref as sr
from baselines.studies.plain import plain_training, train_plainly
from tests.conftest import small, small_cnn


@pytest.mark.parametrize("make", [small, small_cnn])
@pytest.mark.parametrize("settings", [{"rho": 0.1, "momentum": 0.9, "schedule": "cosine"}, {"rho": 0.0}])
def test_plain_training_ends_where_the_run_does(make, settings):
    run = sr.train(make(**settings))
    assert (train_plainly(run) - run.parameters).norm() < 1e-10 * run.parameters.norm()
    assert plain_training(run).seconds > 0


def test_plain_training_has_the_two_norm_alone():
    with pytest.raises(sr.SamattrError, match="p = 2 and weight decay in the loss alone"):
        train_plainly(sr.train(small(p=3.0)))
