"""What the scaling benchmarks time is what its names say, at any size."""

import pytest
import torch

from baselines import metrics
from baselines.studies.growth import paths
from benchmarks.common import hot_path, in_float64, mean_query, n_parameters, problem
from samattr_ref import train


@pytest.fixture(scope="module")
def run():
    return train(problem(60, 8, steps=4, batch_size=20, n_validation=5), "all")


def test_a_problem_has_the_sizes_that_were_asked_for(run):
    assert (run.n_train, run.n_steps, len(run.splits.validation)) == (60, 4, 5)
    assert len(run.parameters) == n_parameters(8)
    assert len(run.splits.train.y.unique()) == run.splits.n_classes


@pytest.mark.parametrize("name", paths())
def test_every_path_in_float32_is_close_to_float64(name, run):
    double = in_float64(run)
    single, exact = (hot_path(name, each, mean_query(name, each), 3)() for each in (run, double))
    assert (single.dtype, exact.dtype) == (torch.float32, torch.float64)
    assert 0 < metrics.relative_error(single.double().cpu().numpy(), exact.cpu().numpy()) < 1e-3


@pytest.mark.parametrize("name", paths())
def test_what_is_computed_has_the_shape_of_its_kind(name, run):
    found = hot_path(name, run, run.splits.validation, 3)()
    n_parameters = len(run.parameters)
    shapes = {"training": (n_parameters,)} | dict.fromkeys(("retraining", "sam-unrolled forward"), (3, n_parameters))
    assert tuple(found.shape) == shapes.get(name, (60, 5))


def test_training_is_the_run_itself(run):
    assert torch.equal(hot_path("training", run, run.splits.queries)(), run.parameters)
