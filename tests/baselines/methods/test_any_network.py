"""Other libraries on every network of the zoo: right by their formula, or refused in one line."""

import gc

import pytest

import samattr_ref as sr
from baselines.last_layer import last_layer
from tests.baselines.methods.plain_rivals import Twin
from tests.baselines.methods.test_ekfac import Plain
from tests.baselines.methods.test_trak import plain
from tests.samattr_ref.test_zoo import RIGHT, assert_close
from tests.samattr_ref.zoo import ZOO, workload_of

pytest.importorskip("dattri")

SIZE, DAMPING, CHECKPOINTS = 5, 0.1, 2
LISSA = {"depth": 20, "scale": 30.0}
OURS = {
    "ekfac": lambda twin: Plain(twin.run).scores(twin.queries, DAMPING + twin.decay),
    "trak": lambda twin: plain(twin.run, twin.queries, [twin.run.parameters], SIZE),
    "captum-tracin-cp": lambda twin: twin.tracin(CHECKPOINTS),
    "captum-tracin-cp-fast": lambda twin: twin.tracin(CHECKPOINTS, last_layer(twin.run, "it").weight),
    "captum-arnoldi": lambda twin: twin.arnoldi(1.0, SIZE),
    "dattri-if-explicit": lambda twin: twin.solved(1.0),
    "dattri-if-cg": lambda twin: twin.solved(1.0),
    "dattri-if-lissa": lambda twin: twin.lissa(1.0, **LISSA),
    "dattri-datainf": lambda twin: twin.datainf(DAMPING),
    "curvlinops-kfac": lambda twin: twin.kfac(DAMPING),
}
OPTIONS = {
    "ekfac": {"damping": DAMPING, "draws": None},
    "trak": {"projection": SIZE},
    "captum-tracin-cp": {"checkpoints": CHECKPOINTS},
    "captum-tracin-cp-fast": {"checkpoints": CHECKPOINTS},
    "captum-arnoldi": {"damping": 1.0, "dimensions": SIZE - 1, "iterations": SIZE},
    "dattri-if-explicit": {"damping": 1.0},
    "dattri-if-cg": {"damping": 1.0},
    "dattri-if-lissa": {"damping": 1.0, "batch": 1000, **LISSA},
    "dattri-datainf": {"damping": DAMPING},
    "curvlinops-kfac": {"damping": DAMPING},
}
TOLERANCES = {"trak": 1e-3, "dattri-if-cg": 1e-5}


@pytest.fixture
def frozen():
    """What is there already is left out of the collections that kronfluence asks for, a dozen a score."""
    gc.freeze()  # until all tests have ended, as what was imported at the start


@pytest.mark.slow
@pytest.mark.usefixtures("frozen")
@pytest.mark.parametrize("name", RIGHT)
def test_right_or_refused(name):
    run = sr.train(workload_of(ZOO[name]))
    twin = Twin(run)
    for method, options in OPTIONS.items():
        try:
            found = sr.attribute(run, method, **options).values
        except sr.SamattrError as error:
            assert "\n" not in str(error)
        else:
            assert_close(found, OURS[method](twin), TOLERANCES.get(method, 1e-7))
