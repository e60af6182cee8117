"""Other libraries on every network of the zoo: right by their formula, or refused in one line."""

import pytest

import samattr_ref as sr
from tests.baselines.methods.test_ekfac import Plain
from tests.baselines.methods.test_trak import plain
from tests.samattr_ref.test_zoo import RIGHT, assert_close
from tests.samattr_ref.zoo import ZOO, workload_of

SIZE, DAMPING = 5, 0.1
OURS = {
    "ekfac": lambda run: Plain(run).scores(run.workload.queries, DAMPING + run.objective.weight_decay),
    "trak": lambda run: plain(run, run.workload.queries, [run.parameters], SIZE),
}
OPTIONS = {"ekfac": {"damping": DAMPING, "draws": None}, "trak": {"projection": SIZE}}
TOLERANCES = {"ekfac": 1e-8, "trak": 1e-3}


@pytest.mark.slow
@pytest.mark.parametrize("name", RIGHT)
def test_right_or_refused(name):
    run = sr.train(workload_of(ZOO[name]))
    for method, options in OPTIONS.items():
        try:
            found = sr.attribute(run, method, **options).values
        except sr.SamattrError as error:
            assert "\n" not in str(error)
        else:
            assert_close(found, OURS[method](run), TOLERANCES[method])
