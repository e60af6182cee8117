"""TRAK against its formula, with the library's own projection: its sign, its ensemble, its refusals."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import samattr_ref as sr
from samattr_ref.support.seeds import stream_seed
from samattr_ref.trajectory import states
from tests.conftest import small, small_cnn
from tests.samattr_ref.zoo import VECTORS, Network

pytest.importorskip("trak")

SIZE = 12


def margins(run, omega, examples):
    """∇ ln(p/(1 − p)) of each point's label, [b, P], and 1 − p, [b]."""
    rows, rest = [], []
    for x, y in zip(examples.x, examples.y, strict=True):
        leaf = omega.clone().requires_grad_()
        p = run.objective.logits(leaf, x[None]).softmax(1)[0, y]
        rows.append(torch.autograd.grad((p / (1 - p)).log(), leaf)[0])
        rest.append(1 - p.detach())
    return torch.stack(rows), torch.stack(rest)


def plain(run, queries, omegas, size, seed=0):
    from trak.projectors import BasicProjector, ProjectionType

    P, total, rest = len(run.parameters), 0, 0
    for model, omega in enumerate(omegas):
        own = stream_seed(run.workload.seed, "trak", seed)
        projector = BasicProjector(P, size, own, ProjectionType.normal, "cpu", block_size=size, model_id=model)
        R = projector.proj_matrix.to(run.parameters) / P**0.5
        (train, slopes), (asked, _) = margins(run, omega, run.train), margins(run, omega, queries)
        inverse = torch.linalg.inv(R.T @ train.T @ train @ R)
        inverse /= inverse.abs().mean()
        total, rest = total + train @ R @ inverse @ R.T @ asked.T, rest + slopes
    return total * rest[:, None] / len(omegas) ** 2


def close(found, expected, tolerance=1e-3):
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * float(expected.abs().max()))


@pytest.mark.parametrize("make", [small, lambda: small("digits-mlp"), small_cnn])
def test_scores_are_those_of_the_formula(make):
    run = sr.train(make())
    found = sr.attribute(run, "trak", projection=SIZE).values
    close(found, plain(run, run.workload.queries, [run.parameters], SIZE))


def test_checkpoints_are_states_of_the_run_and_the_last_is_its_end():
    run = sr.train(small("digits-mlp"))
    found = sr.attribute(run, "trak", projection=SIZE, checkpoints=3).values
    omegas = [*(state.omega for _, state in states(run, [13, 26])), run.parameters]
    close(found, plain(run, run.workload.queries, omegas, SIZE))


def test_a_projection_in_several_blocks_is_the_librarys_own(monkeypatch):
    from baselines.methods import trak

    run = sr.train(small())
    monkeypatch.setattr(trak, "BLOCK", 5 * len(run.parameters))
    whole, parts = (sr.attribute(run, "trak", projection=SIZE, seed=s).values for s in (0, 0))
    assert torch.equal(whole, parts)
    monkeypatch.undo()
    assert not torch.equal(whole, sr.attribute(run, "trak", projection=SIZE).values)


def test_the_sign_is_that_of_exact_influence():
    run = sr.train(sr.load_workload("digits-logreg").override(n_train=200, n_query=20, steps=300))
    scores = (sr.attribute(run, "trak").values, sr.attribute(run, "if", damping=0.0).values)
    ranks = [part.argsort(0).argsort(0).double().flatten() for part in scores]
    assert torch.corrcoef(torch.stack(ranks))[0, 1] > 0.2
    own = sr.attribute(run, "trak", run.train).values.diagonal()
    assert (own > 0).all()  # what a point does for itself


def test_a_seed_says_which_projection():
    run = sr.train(small())
    first = sr.attribute(run, "trak").values
    assert torch.equal(first, sr.attribute(run, "trak").values)
    assert not torch.equal(first, sr.attribute(run, "trak", seed=1).values)


def test_batches_change_nothing_but_rounding():
    run = sr.train(small("digits-mlp"))
    found = sr.attribute(run, "trak", projection=SIZE, memory_bytes=700_000).values
    close(found, sr.attribute(run, "trak", projection=SIZE).values)


def test_pooled_queries_are_their_mean():
    run = sr.train(small())
    queries = run.workload.queries
    pooled = sr.attribute(run, "trak", queries.pool()).values
    close(pooled, sr.attribute(run, "trak", queries).values.mean(1, keepdim=True), 1e-12)


def test_frozen_parameters_are_no_part_of_it():
    def make():
        network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
        network[0].requires_grad_(False)
        return network

    recipe = sr.SamRecipe(steps=8, batch_size=10)
    run = sr.train(sr.Workload("frozen", VECTORS, Network(make), recipe, dtype="float64"))
    close(sr.attribute(run, "trak", projection=4).values, plain(run, run.workload.queries, [run.parameters], 4))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"projection": 60}, "smaller than the 60 training points or parameters, not 60"),
        ({"projection": 0}, "at least 1"),
        ({"checkpoints": 41}, r"lie in 1\.\.40"),
        ({"checkpoints": 0}, r"lie in 1\.\.40"),
    ],
)
def test_options_out_of_range_are_refused(options, said):
    with pytest.raises(sr.SamattrError, match=said):
        sr.attribute(sr.train(small()), "trak", **options)


def test_gradients_that_are_too_much_alike_are_refused():
    """Of a linear network with three classes and four inputs, margins have ten independent gradients."""
    recipe = sr.SamRecipe(steps=8, batch_size=10)
    run = sr.train(sr.Workload("flat", VECTORS, Network(lambda: nn.Linear(4, 3)), recipe, dtype="float64"))
    assert sr.attribute(run, "trak", projection=8).values.isfinite().all()
    with pytest.raises(sr.SamattrError, match="too much alike"):
        sr.attribute(run, "trak", projection=12)


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(x if bool(x.sum() > -1e9) else -x)


def test_a_network_that_the_library_cannot_follow_is_one_line():
    workload = sr.Workload("branching", VECTORS, Network(Branching), sr.SamRecipe(steps=8, batch_size=10))
    run = sr.train(replace(workload, dtype="float64"))
    with pytest.raises(sr.SamattrError, match="traker cannot follow this network") as caught:
        sr.attribute(run, "trak", projection=4)
    assert "\n" not in str(caught.value)
