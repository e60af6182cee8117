"""The losses of a sample: their derivatives, torch's own functions, and what is refused."""

from dataclasses import dataclass

import pytest
import torch
from sklearn.datasets import load_diabetes
from torch import Tensor
from torch.nn import functional

import samattr_ref as sr
from baselines import metrics
from baselines.truth import leave_one_out

Z = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
CLASSES = torch.tensor([0, 1, 2, 3, 1, 1])
NUMBERS = Z.roll(1, 0).sin()
LABELS = (NUMBERS > 0).double()
WEIGHTS = (1.0, 2.0, 0.5, 3.0)


@dataclass(frozen=True)
class Own(sr.Loss):
    """A user's own, with its value alone."""

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return ((outputs - targets) ** 4).sum(-1)


def plain(reduce=lambda found: found, function=functional.cross_entropy, **settings):
    return lambda z, y: reduce(function(z, y, reduction="none", **settings))


CASES = {
    "plain": (sr.CrossEntropy(), Z, CLASSES, plain()),
    "smoothed": (sr.CrossEntropy(label_smoothing=0.2), Z, CLASSES, plain(label_smoothing=0.2)),
    "weights": (sr.CrossEntropy(class_weights=WEIGHTS), Z, CLASSES, plain(weight=torch.tensor(WEIGHTS).double())),
    "tokens": (
        sr.NextToken(),
        Z.view(2, 3, 4),
        CLASSES.view(2, 3),
        lambda z, y: functional.cross_entropy(z.transpose(1, 2), y, reduction="none").mean(1),
    ),
    "labels": (
        sr.BinaryCrossEntropy(),
        Z,
        LABELS,
        plain(lambda found: found.mean(1), functional.binary_cross_entropy_with_logits),
    ),
    "numbers": (sr.SquaredError(), Z, NUMBERS, plain(lambda found: found.mean(1), functional.mse_loss)),
    "number": (sr.SquaredError(), Z[:, :1], NUMBERS[:, 0], lambda z, y: (z[:, 0] - y) ** 2),
    "own": (Own(), Z, NUMBERS, lambda z, y: (z - y).pow(4).sum(1)),
}


@pytest.mark.parametrize("name", CASES)
def test_values_are_torchs_own_and_derivatives_are_autograds(name):
    loss, z, y, value = CASES[name]
    torch.testing.assert_close(loss.value(z, y), value(z, y))
    leaf = z.clone().requires_grad_()
    (true,) = torch.autograd.grad(value(leaf, y).sum(), leaf)
    torch.testing.assert_close(loss.by_outputs(z, y), true)
    change = z.flip(0).cos()
    _, along = torch.autograd.functional.hvp(lambda z: value(z, y).sum(), z, change)
    torch.testing.assert_close(loss.curvature(z, y, change), along)
    (again,) = torch.autograd.grad((loss.by_outputs(leaf, y) * change).sum(), leaf)  # by the gradient's own graph
    torch.testing.assert_close(again, along)


def test_weights_multiply_the_smoothed_loss():
    both = sr.CrossEntropy(label_smoothing=0.2, class_weights=WEIGHTS)
    alone = sr.CrossEntropy(label_smoothing=0.2).value(Z, CLASSES)
    torch.testing.assert_close(both.value(Z, CLASSES), alone * torch.tensor(WEIGHTS).double()[CLASSES])


def test_quality():
    at = functional.one_hot(CLASSES, 4).double()
    assert sr.CrossEntropy().quality(at, CLASSES) == 1
    assert sr.NextToken().quality(at.view(2, 3, 4), CLASSES.view(2, 3).roll(1, 1)) < 1
    assert sr.BinaryCrossEntropy().quality(LABELS - 0.5, LABELS) == 1
    assert sr.SquaredError().quality(NUMBERS, NUMBERS) == 1
    mean = NUMBERS.mean(0).expand_as(NUMBERS)
    assert sr.SquaredError().quality(mean, NUMBERS) == pytest.approx(0)
    assert torch.tensor(sr.SquaredError().quality(mean, mean)).isnan()
    assert torch.tensor(Own().quality(Z, NUMBERS)).isnan()


@pytest.mark.parametrize(
    ("loss", "targets", "said"),
    [
        (sr.CrossEntropy(), NUMBERS, r"labels are float64 \[6, 4\], and cross-entropy takes class indices"),
        (sr.CrossEntropy(), NUMBERS[:, 0], r"labels are float64 \[6\], and cross-entropy takes class indices"),
        (sr.CrossEntropy(), CLASSES[:, None], r"labels are int64 \[6, 1\], and cross-entropy takes class indices"),
        (sr.CrossEntropy(), CLASSES + 1, "label 4, outside the 4 classes"),
        (sr.CrossEntropy(class_weights=(1.0, 2.0)), CLASSES, "class_weights has 2 numbers for 4 classes"),
        (sr.NextToken(), CLASSES, r"takes tokens, whole numbers \[b, s\], not int64 \[6\]"),
        (sr.BinaryCrossEntropy(), CLASSES, r"takes floats of 0 to 1, \[b, k\], not int64 \[6\]"),
        (sr.BinaryCrossEntropy(), 2 * LABELS, "between 0 and 1"),
        (sr.SquaredError(), CLASSES, r"takes floats \[b\] or \[b, k\], not int64 \[6\]"),
        (sr.SquaredError(), NUMBERS[:, :3], r"takes floats \[b\] or \[b, k\], not float64 \[6, 3\]"),
    ],
)
def test_targets_of_another_loss_are_one_line(loss, targets, said):
    with pytest.raises(sr.SamattrError, match=said) as caught:
        loss.check(targets, 4)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: sr.CrossEntropy(label_smoothing=1.0), "label_smoothing must lie in"),
        (lambda: sr.CrossEntropy(label_smoothing="much"), "label_smoothing cannot be 'much'"),
        (lambda: sr.CrossEntropy(smoothing=0.1), "there is no .*'smoothing'|label_smoothing"),
        (lambda: sr.SamRecipe(label_smoothing=0.1), "the loss is the workload's"),
        (lambda: sr.CrossEntropy(class_weights=(1.0, -1.0)), "class_weights must be positive"),
        (lambda: diabetes(loss="mse"), "loss must be a sr.Loss"),
        (lambda: sr.train(diabetes(loss=sr.CrossEntropy())), "labels are float64"),
        (lambda: sr.train(diabetes(noise=0.1)), "set noise to None"),
    ],
)
def test_what_does_not_go_together_is_one_line(make, said):
    with pytest.raises(sr.SamattrError, match=said) as caught:
        make()
    assert "\n" not in str(caught.value)


class MeanOverTheBatch(Own):
    """No number a point."""

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return super().value(outputs, targets[:, None]).mean()


class Centred(Own):
    """Each point's depends on its company."""

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return super().value(outputs - outputs.mean(0), targets[:, None])


class WrongSlope(sr.SquaredError):
    """Its gradient is half of what it should be."""

    def by_outputs(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return super().by_outputs(outputs, targets) / 2


class WrongCurvature(sr.SquaredError):
    """Its second derivative is half of what it should be."""

    def curvature(self, outputs: Tensor, targets: Tensor, change: Tensor) -> Tensor:
        return super().curvature(outputs, targets, change) / 2


class Fails(Own):
    """It cannot be computed."""

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        raise ValueError("what a user's loss raises")


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (MeanOverTheBatch(), "one number a point"),
        (Centred(), "one number a point"),
        (WrongSlope(), "by_outputs is not what autograd makes"),
        (WrongCurvature(), "curvature is not what autograd makes"),
        (Fails(), "what a user's loss raises"),
    ],
)
def test_a_loss_that_is_wrong_is_refused_before_training(loss, said, fresh_store):
    with pytest.raises(sr.SamattrError, match=said) as caught:
        sr.train(diabetes(loss))
    assert "\n" not in str(caught.value)
    assert not list(fresh_store.rglob("run.json"))


def diabetes(loss=sr.SquaredError(), noise=None):  # noqa: B008
    """Regression on the table of 442 patients that scikit-learn ships, inputs and targets standardised."""
    table = load_diabetes()
    x = torch.tensor(table.data / table.data.std(0))
    y = torch.tensor((table.target - table.target.mean()) / table.target.std())
    data = sr.Points(data=(x, y), n_train=250, n_query=30, n_tuning=20, n_validation=100, noise=noise)
    recipe = sr.SamRecipe(steps=300, learning_rate=0.05)
    return sr.Workload("diabetes", data, sr.MLP((16,)), recipe, dtype="float64", n_removed=40, loss=loss)


@pytest.fixture(scope="module")
def regression(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAMATTR_STORE", str(tmp_path_factory.mktemp("diabetes")))
        run = sr.train(diabetes())
        yield run, leave_one_out(run)


def test_regression_on_a_real_table(regression):
    run, truth = regression
    assert run.accuracy(run.splits.validation) > 0.4  # R²; a linear fit of all points has 0.52
    effects = truth.effects(run.workload.queries)
    scores = sr.attribute(run, "sam-unrolled").values[truth.removed]
    ranks = metrics.spearman_per_query(scores.numpy(), effects.numpy())
    print(f"R² {run.accuracy(run.splits.validation):.3f}, Spearman {ranks.mean():.4f}")
    assert ranks.mean() > 0.98


def test_a_method_written_for_cross_entropy_is_refused(regression):
    def scores(run, queries):
        raise AssertionError("refused before it is called")

    with pytest.raises(sr.SamattrError, match="written for plain cross-entropy"):
        sr.attribute(regression[0], scores)


def test_queries_of_another_kind_are_one_line(regression):
    run = regression[0]
    queries = run.splits.queries
    for y, said in (
        (queries.y.float(), "targets in torch.float32"),
        (torch.zeros(len(queries), 2).double(), "takes floats"),
    ):
        with pytest.raises(sr.SamattrError, match=said) as caught:
            sr.attribute(run, "grad-dot", (sr.Examples(queries.x, y)))
        assert "\n" not in str(caught.value)


def test_another_loss_is_another_run():
    keys = {diabetes(loss).key() for loss in (sr.SquaredError(), Own())}
    assert len(keys) == 2
