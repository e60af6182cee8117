"""Several runs of the same training."""

import numpy as np
import torch

import baselines
import samattr_ref as sr
from tests.conftest import small


def test_another_training_seed_is_the_same_points_trained_anew():
    workload = small()
    again = workload.override(training_seed=5)
    assert again.splits.digest == workload.splits.digest
    one, other = sr.train(workload), sr.train(again)
    assert one.key != other.key
    assert not torch.equal(one.checkpoints[0], other.checkpoints[0])
    assert not torch.equal(one.batches, other.batches)
    assert workload.override(training_seed=0).key() == workload.key()
    effects = [baselines.leave_one_out(run).values.cpu().numpy() for run in (one, other)]
    assert np.corrcoef(effects[0].ravel(), effects[1].ravel())[0, 1] > 0.5
