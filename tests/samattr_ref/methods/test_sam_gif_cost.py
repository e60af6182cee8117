"""What the Influence Scores of all of MNIST cost by SAM-GIF: in passes over the data, and in memory."""

import statistics
import time

import pytest
import torch
from torch.func import functional_call

import samattr_ref as sr
from baselines.measure import measured
from tests.conftest import needs_data

PASSES = {"forward": 45, "backward": 15}


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.memory
@needs_data("MNIST")
def test_scores_of_60000_points_cost_few_passes():
    """Ten checkpoints: a full gradient for ê and a product with the mean query's gradient at each."""
    run = sr.train(sr.load_workload("mnist-mlp").override(n_train=60000, steps=20, n_query=10, n_tuning=10))
    assert run.n_train == 60000

    def forward(backward=False):
        parameters = {
            name: value.requires_grad_(backward) for name, value in run.objective.unflatten(run.parameters).items()
        }
        began = time.perf_counter()
        for x, y in zip(run.train.x.split(1000), run.train.y.split(1000), strict=True):
            with torch.set_grad_enabled(backward):
                loss = torch.nn.functional.cross_entropy(functional_call(run.objective.module, parameters, (x,)), y)
            if backward:
                torch.autograd.grad(loss, list(parameters.values()))
        return time.perf_counter() - began

    ratios = []
    for _ in range(3):
        once, both = forward(), forward(backward=True)
        allowed = PASSES["forward"] * once + PASSES["backward"] * max(both - once, 0)
        _, cost = measured(lambda: sr.influence_score(run.fresh(), "sam-gif", run.splits.validation, checkpoints=10))
        ratios.append(cost.seconds / allowed)
        assert cost.peak_memory_bytes < 2**30
    ratio = statistics.median(ratios)
    print(f"SAM-GIF of 60,000 points: {ratio:.2f} of the time of 45 forward and 15 backward passes")
    assert ratio < 1
