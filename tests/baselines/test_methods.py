"""TracIn against captum."""

import captum.influence
import torch
from torch import nn

import samattr_ref as sr
from tests.conftest import small


def test_tracin_cp_agrees_with_captum():
    """At full batch every point has one weight W in a segment, and captum's products at the checkpoints sum to ours."""
    run = sr.train(small("digits-mlp", batch_size=None, steps=12, schedule="constant"))
    count, W = 3, 4 * run.workload.recipe.learning_rate / run.n_train
    run_steps = [1, 5, 9]
    module = run.objective.module

    def load(model, path):
        state = run.objective.unflatten(run.checkpoints[int(path)])
        model.load_state_dict({name: value.clone() for name, value in state.items()})
        return 1.0

    queries = run.workload.queries
    oracle = captum.influence.TracInCP(
        module,
        torch.utils.data.TensorDataset(run.train.x, run.train.y),
        checkpoints=[str(t) for t in run_steps],
        checkpoints_load_func=load,
        loss_fn=nn.CrossEntropyLoss(reduction="none"),
        batch_size=run.n_train,
    )
    expected = W * oracle.influence((queries.x, queries.y)).T
    found = sr.attribute(run, "tracin-cp", checkpoints=count).values
    torch.testing.assert_close(found, expected.to(found), rtol=1e-8, atol=1e-12)


def test_grad_dot_is_the_product_of_gradients():
    run = sr.train(small())
    train = run.objective.sample_gradients(run.parameters, run.train.x, run.train.y)
    expected = train @ run.query_gradients(run.workload.queries).T / run.n_train
    torch.testing.assert_close(sr.attribute(run, "grad-dot").values, expected)


def test_random_scores_are_standard_normal_and_seeded():
    run = sr.train(small(n_train=500, n_query=100))
    first = sr.attribute(run, "random").values
    assert abs(first.mean()) < 0.02
    assert abs(first.std() - 1) < 0.02
    assert torch.equal(first, sr.attribute(run, "random").values)
    assert not torch.equal(first, sr.attribute(run, "random", seed=1).values)
