"""Flips of the gradient's signs, counted one by one."""

import math

import pytest
import torch

import baselines
import samattr_ref as sr
from baselines.studies.sign_flips import sign_flips
from samattr_ref.sam.perturbation import perturbation
from tests.conftest import small


def test_flips_are_counted_and_move_the_perturbation():
    workload = small(p=math.inf, rho=0.01, steps=200, n_removed=8)
    frame = sign_flips(workload, ("sam-if", "sam-hif"), 5)
    assert len(frame) == 10
    run = sr.train(workload)
    truth = baselines.leave_one_out(run)
    own = frame[frame["method"] == "sam-if"].set_index("point")
    g = run.gradient(run.parameters)
    for group, omega in list(zip(truth.groups, truth.parameters, strict=True))[:5]:
        k = int(group)
        weights = torch.ones(run.n_train).to(run.parameters)
        weights[k] = 0
        leaf = omega.clone().requires_grad_()
        after = torch.autograd.grad(run.objective.loss(leaf, run.train.x, run.train.y, weights), leaf)[0]
        flipped = int((after.sign() != g.sign()).sum())
        assert own.loc[k, "flips"] == pytest.approx(flipped / len(g))
        size = float((omega - run.parameters).norm())
        assert own.loc[k, "shift"] == pytest.approx(2 * 0.01 * math.sqrt(flipped) / size)  # p = ∞: 2ρ a coordinate
    assert float(perturbation(g, 0.01, math.inf).abs().max()) == pytest.approx(0.01)
