"""The proof beyond the zoo: float32, what changes while a network is trained, what the store finds, what it costs."""

import os
import threading
import time
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

import baselines
import samattr_ref as sr
from samattr_ref.network.linearised import Linearised
from samattr_ref.network.proof import prove, prove_again
from samattr_ref.sam.step import first_state
from samattr_ref.training import _Trainer
from tests.conftest import small, tried


@dataclass(frozen=True)
class Model:
    """A model recipe of a module's class and its arguments."""

    kind: type[nn.Module]
    arguments: tuple = ()

    def build(self, input_shape, n_classes):
        return self.kind(*self.arguments)


def workload(kind, *arguments, dtype="float64", **settings):
    return replace(small(**settings), name="own", model=Model(kind, arguments), dtype=dtype)


class Scaled(nn.Module):
    """A linear map times a number that is a plain attribute."""

    def __init__(self, scale):
        super().__init__()
        self.linear, self.scale = nn.Linear(64, 10), scale

    def forward(self, x):
        return self.linear(x.flatten(1)) * self.scale


@pytest.mark.slow
def test_the_store_tells_networks_apart_by_their_plain_attributes(fresh_store):
    one, other = workload(Scaled, 1.0), workload(Scaled, 0.125)
    assert one.key() != other.key()
    ends = [sr.train(each).parameters for each in (one, other)]
    assert not torch.equal(*ends)
    found = [baselines.validate("sam-unrolled", each).metrics["spearman_per_query"]["mean"] for each in (one, other)]
    monkey = pytest.MonkeyPatch()
    monkey.setenv("SAMATTR_STORE", str(fresh_store / "empty"))
    assert baselines.validate("sam-unrolled", other).metrics["spearman_per_query"]["mean"] == found[1] != found[0]
    monkey.undo()


class Heads(nn.Module):
    def __init__(self, heads):
        super().__init__()
        self.attention, self.out = nn.MultiheadAttention(8, heads, batch_first=True), nn.Linear(8, 10)

    def forward(self, x):
        x = x[:, 0]
        return self.out(self.attention(x, x, x, need_weights=False)[0].mean(1))


def test_the_store_tells_one_head_from_four():
    assert workload(Heads, 1).key() != workload(Heads, 4).key()
    assert workload(Heads, 4).key() == workload(Heads, 4).key()


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.recurrent, self.out = kind(8, 5, batch_first=True), nn.Linear(5, 10)

    def forward(self, x):
        return self.out(self.recurrent(x[:, 0])[0][:, -1])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.rows, self.out = nn.Linear(8, 6), nn.Linear(6, 10)

    def forward(self, x):
        rows = self.rows(x[:, 0])
        return self.out(scaled_dot_product_attention(rows, rows, rows).mean(1))


class Single(nn.Module):
    """Names float32 itself."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        return self.linear(torch.tanh(x.flatten(1).float() @ torch.eye(64, dtype=torch.float32, device=x.device)))


class SingleDetached(Single):
    """The same with a part of the derivative missing."""

    def forward(self, x):
        z = super().forward(x)
        return z * z.detach()


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [(Recurrent, nn.LSTM), (Recurrent, nn.GRU), (Attention,), (Single,)])
def test_float32_has_kernels_of_its_own(arguments):
    run = sr.train(workload(*arguments, dtype="float32"))
    scores = sr.attribute(run, "sam-unrolled").values
    wide = replace(run.workload, dtype="float64")
    if arguments == (Single,):
        truth = baselines.leave_one_out(run).values
        assert torch.corrcoef(torch.stack([scores.flatten(), truth.flatten()]))[0, 1] > 0.99
    else:
        expected = sr.attribute(sr.train(wide), "sam-unrolled").values
        assert float((scores - expected).abs().max()) < 1e-3 * float(expected.abs().max())


def test_float32_alone_does_not_hide_a_missing_derivative():
    with pytest.raises(sr.SamattrError, match="not the derivative of its loss"):
        sr.train(workload(SingleDetached, dtype="float32"))


class Switching(nn.Module):
    """Another function, and a random one, once its parameters have grown."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 10)
        nn.init.zeros_(self.linear.weight)

    def forward(self, x):
        z = self.linear(x.flatten(1))
        return z - z.mean(0) if float(self.linear.weight.detach().abs().max()) > 0.1 else z


def test_what_breaks_a_rule_at_the_end_is_refused_too(fresh_store):
    with pytest.raises(sr.SamattrError, match="mixes samples"):
        sr.train(workload(Switching, learning_rate=1.0))
    assert not list(fresh_store.rglob("run.json"))


def test_a_shared_activation_stands_twice_in_a_chain():
    for seed in range(40):
        torch.manual_seed(seed)
        act = nn.GELU()
        module = nn.Sequential(nn.Linear(4, 5), act, nn.Linear(5, 5), act, nn.Linear(5, 3)).double()
        x, y = torch.randn(7, 4, dtype=torch.float64), torch.arange(7) % 3
        objective = tried(module, x, y)
        omega, u = objective.flatten(), torch.randn(1, objective.n_parameters, dtype=torch.float64)
        assert objective.chain is not None
        true = Linearised(objective, omega, x, y, None)
        torch.testing.assert_close(objective.linearise(omega, x, y).along(u)[0], true.along(u)[0])


class Behind(nn.Module):
    """A layer that is called twice behind a head of zeros: at the start all its gradients are zero."""

    def __init__(self):
        super().__init__()
        self.twice, self.head = nn.Linear(4, 4), nn.Linear(4, 3)
        nn.init.zeros_(self.head.weight)

    def forward(self, x):
        return self.head(torch.tanh(self.twice(torch.tanh(self.twice(x)))))


def test_layers_are_not_believed_where_their_gradients_are_zero():
    x, y = torch.randn(7, 4, dtype=torch.float64), torch.arange(7) % 3
    objective = tried(Behind().double(), x, y)
    assert list(objective.tried.engine.layers) == ["head"]


class Silent(nn.Module):
    """A layer whose gradient is zero whatever the parameters."""

    def __init__(self):
        super().__init__()
        self.nothing, self.head = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(x) + 0 * self.nothing(x)


def test_a_layer_that_shows_nothing_is_not_believed():
    x, y = torch.randn(7, 4, dtype=torch.float64), torch.arange(7) % 3
    objective = tried(Silent().double(), x, y)
    assert objective.tried.trial.silent == {"nothing.weight", "nothing.bias"}
    assert list(objective.tried.engine.layers) == ["head"]


def test_what_has_no_key_is_trained_anew_and_leaves_nothing(fresh_store, caplog):
    class Held(Scaled):
        def __init__(self):
            super().__init__(1.0)
            self.lock = threading.Lock()

    own = workload(Held)
    result = baselines.validate("grad-dot", own)
    assert result.metrics["spearman_per_query"]["mean"] > 0
    (line,) = {record.getMessage() for record in caplog.records}
    assert "lock" in line
    assert "\n" not in line
    assert not [path for path in fresh_store.rglob("*") if path.suffix in (".json", ".safetensors")]


class Surroundings(Scaled):
    """Depends on what is no part of it."""

    def __init__(self):
        super().__init__(float(os.environ["SAMATTR_TEST_SCALE"]))


def test_a_model_that_changes_later_is_not_attributed(monkeypatch):
    monkeypatch.setenv("SAMATTR_TEST_SCALE", "1")
    run = sr.train(workload(Surroundings))
    monkeypatch.setenv("SAMATTR_TEST_SCALE", "2")
    with pytest.raises(sr.SamattrError, match="builds another network than the one that was trained"):
        sr.attribute(run, "grad-dot")


@pytest.mark.timing
def test_the_proof_costs_little_of_a_training():
    """About 2 % of digits-mlp's 400 steps, with room for a busy machine; the shortest of a few."""
    own = sr.load_workload("digits-mlp")
    train = own.splits.train
    batches, objective, initial = own.recipe.batches(len(train), 0), *own.build()

    def proof():
        prove(objective, train.x, train.y, 10, 50, initial)
        prove_again(objective, train.x, train.y, 50, initial)

    def training():
        trainer, state = (
            _Trainer(objective, own, batches, own.recipe.step_sizes()),
            first_state(initial, own.recipe.rule),
        )
        for t in range(own.recipe.steps):
            state = trainer.step(t, state)

    def shortest(work, repeats):
        times = []
        for _ in range(repeats):
            began = time.perf_counter()
            work()
            times.append(time.perf_counter() - began)
        return min(times)

    proof()
    assert shortest(proof, 10) < 0.05 * shortest(training, 3)
