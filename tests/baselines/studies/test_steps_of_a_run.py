"""A run step by step: the terms of a score add up to it, and states are those of the run."""

import numpy as np
import pytest
import torch

import samattr_ref as sr
from baselines.studies import steps_of_a_run as study
from samattr_ref.trajectory import states
from samattr_ref.unrolled.derivative import terms
from tests.conftest import small


@pytest.fixture(scope="module")
def run():
    return sr.train(
        small("digits-mlp", n_train=40, hidden=(4,), steps=25, batch_size=10, momentum=0.5, dtype="float64")
    )


@pytest.fixture(scope="module")
def frame(run):
    return study.measure(run.workload)


def test_terms_add_up_to_the_score(run):
    scores = sr.attribute(run, "sam-unrolled", run.splits.queries).values
    total = torch.zeros_like(scores)
    for term in terms(run, run.query_gradients(run.splits.queries)):
        assert term.points.tolist() == run.batch(term.step).tolist()
        total.index_add_(0, term.points, term.values)
    assert (total - scores).abs().max() <= 1e-10 * scores.abs().max()


def test_followed_points_are_the_ends_and_their_terms_their_influence(run, frame):
    influence = sr.influence_score(run, "sam-unrolled", run.splits.validation).numpy()
    own = frame[frame["part"] == study.TERM]
    order = influence.argsort().tolist()
    assert set(own["point"]) == {*order[: study.SHOWN], *order[-study.SHOWN :]}
    for point, part in own.groupby("point"):
        assert part["value"].sum() == pytest.approx(influence[int(point)], rel=1e-9)
        assert part["score"].iloc[0] == pytest.approx(influence[int(point)], rel=1e-9)
        assert part["step"].tolist() == [t for t in range(25) if int(point) in run.batch(t).tolist()]


def test_the_adjoint_grows_as_the_diagnostics_say(run, frame):
    own = frame[frame["part"] == study.ADJOINT].sort_values("step")
    found = sr.attribute(run, "sam-unrolled", run.splits.validation.pool()).diagnostics["growth"]
    assert len(own) == 25
    assert own["adjoint"].iloc[0] == pytest.approx(found, rel=1e-9)


def test_states_are_those_of_the_run(run, frame):
    own = frame[frame["part"] == study.STATE].set_index("step")
    for t, state in states(run, range(25)):
        loss = run.objective.all_logits(state.omega, run.train.x)
        loss = torch.nn.functional.cross_entropy(loss, run.train.y)
        assert own.loc[t, "loss"] == pytest.approx(float(loss), rel=1e-12)
        norm = float(run.gradient(state.omega).norm())
        assert own.loc[t, "grad_norm"] == pytest.approx(norm)
        assert own.loc[t, "rho_over_grad_norm"] == pytest.approx(run.workload.recipe.rho / norm)
        assert own.loc[t, "kept"] == (t in run.checkpoint_steps.tolist())
    assert np.isfinite(own["accuracy"].astype(float)).all()
