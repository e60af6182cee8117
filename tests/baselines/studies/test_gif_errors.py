"""The parts of SAM-GIF's error are what they say, and the bound on what it omits holds."""

import pytest

import baselines
import samattr_ref as sr
from baselines.metrics import relative_error
from baselines.studies.gif_errors import STAGES, omitted_bound, stages
from tests.conftest import small


def test_stages_lead_from_sparse_gif_to_the_truth():
    workload = small("digits-mlp", hidden=(6,))
    frame = stages(workload, 4).set_index("stage")
    assert tuple(frame.index) == STAGES
    run = sr.train(workload)
    true = baselines.leave_one_out(run).values.cpu().numpy()
    sparse, exact = (
        sr.attribute(run, name, **options).values.cpu().numpy()
        for name, options in (("sam-gif", {"checkpoints": 4}), ("sam-unrolled", {}))
    )
    assert frame.loc["checkpoint sparsity", "before"] == pytest.approx(relative_error(sparse, true))
    assert frame.loc["Hessian terms", "after"] == pytest.approx(relative_error(exact, true))
    assert frame.loc["non-linearity", "after"] == 0
    assert frame.loc["non-linearity", "spearman"] == pytest.approx(1)
    assert frame.loc["non-linearity", "change"] == pytest.approx(relative_error(exact, true))


@pytest.mark.parametrize("name", ["digits-logreg", "digits-mlp"])
def test_the_omitted_terms_are_within_their_bound(name):
    workload = small(name, rho=0.01, learning_rate=0.05)
    frame = omitted_bound(workload, (1, 2, 5, 20)).set_index("last")
    assert (frame["omitted"] <= frame["bound"]).all()
    assert (frame["omitted"] > 0).all()
    assert frame["bound"].is_monotonic_increasing
    assert frame.loc[1, "bound"] < 1


def test_of_one_step_without_a_perturbation_nothing_is_omitted():
    frame = omitted_bound(small(rho=0.0), (1,))
    assert frame["omitted"].iloc[0] == pytest.approx(0, abs=1e-12)
    assert frame["bound"].iloc[0] == 0


@pytest.mark.parametrize("settings", [{"momentum": 0.9}, {"p": 3.0}])
def test_the_bound_is_refused_where_it_was_not_derived(settings):
    with pytest.raises(sr.SamattrError, match="p = 2 without momentum"):
        omitted_bound(small(**settings), (1,))
