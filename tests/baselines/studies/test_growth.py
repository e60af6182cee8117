"""Timings at one size of one axis."""

import pandas as pd
import pytest

import samattr_ref as sr
from baselines.studies.growth import paths, time_methods
from tests.conftest import small

WORKLOAD = small(n_train=50, n_validation=40)


@pytest.mark.slow
def test_timings():
    timed = [name for name in sr.methods() if name in paths()]
    frame = pd.concat([time_methods(WORKLOAD, "C", 4, ["tracin-cp"]), time_methods(WORKLOAD, "n", 50, timed)])
    assert (frame["seconds"] > 0).all()
    assert set(frame["method"]) == set(timed) == set(sr.methods())
