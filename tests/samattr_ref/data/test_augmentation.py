"""Augmentation: every view is a mirrored, moved image; the same views whenever a step is taken again."""

from dataclasses import dataclass, replace

import pytest
import torch

import samattr_ref as sr
from baselines.truth import leave_one_out
from tests.conftest import small, small_cnn


def moved(image, flipped, down, right, shift):
    """One image [c, h, w] mirrored and moved, pixel by pixel, its borders reflected."""
    _, height, width = image.shape

    def reflected(i, length):
        return -i if i < 0 else 2 * (length - 1) - i if i >= length else i

    out = torch.empty_like(image)
    for i in range(height):
        for j in range(width):
            column = width - 1 - j if flipped else j
            out[:, i, j] = image[:, reflected(i + down - shift, height), reflected(column + right - shift, width)]
    return out


@pytest.mark.parametrize(("flip", "shift"), [(True, 2), (False, 1), (True, 0), (False, 0)])
def test_every_view_is_a_mirrored_and_moved_image(flip, shift):
    x = torch.randn(30, 2, 5, 6, dtype=torch.float64)
    views = sr.FlipAndShift(flip=flip, shift=shift).view(x, 3, 7)
    found = []
    for image, view in zip(x, views, strict=True):
        every = [
            (flipped, down, right)
            for flipped in (False, True)
            for down in range(2 * shift + 1)
            for right in range(2 * shift + 1)
            if torch.equal(view, moved(image, flipped, down, right, shift))
        ]
        found += every[:1]
        assert every
    assert len({flipped for flipped, _, _ in found}) == 1 + flip
    assert len({move for _, *moves in found for move in moves}) == 2 * shift + 1


def test_a_view_depends_on_seed_step_and_place_alone():
    x, augmentation = torch.randn(8, 1, 6, 6), sr.FlipAndShift()
    view = augmentation.view(x, 0, 5)
    assert torch.equal(view, augmentation.view(x, 0, 5))
    assert not torch.equal(view, augmentation.view(x, 1, 5))
    assert not torch.equal(view, augmentation.view(x, 0, 6))
    other = x.clone()
    other[3] = 0
    rest = [i for i in range(8) if i != 3]
    assert torch.equal(augmentation.view(other, 0, 5)[rest], view[rest])


def test_the_run_is_the_plain_loop_over_views():
    workload = small_cnn(steps=3, augmentation=sr.FlipAndShift(shift=1))
    run = sr.train(workload)
    omega, objective, recipe = run.checkpoints[0], run.objective, workload.recipe
    for t in range(3):
        points = run.batch(t)
        x, y = workload.augmentation.view(run.train.x[points], workload.seed, t), run.train.y[points]
        g = objective.gradient(omega, x, y)
        e = recipe.rho * g / g.norm()
        omega = omega - float(run.step_sizes[t]) * objective.gradient(omega + e, x, y)
    assert (omega - run.parameters).norm() < 1e-12 * omega.norm()
    assert not torch.allclose(run.parameters, sr.train(replace(workload, augmentation=None)).parameters)


@pytest.mark.parametrize("engine", ["loop", "batched"])
def test_retraining_sees_what_the_run_saw(engine):
    run = sr.train(small_cnn(augmentation=sr.FlipAndShift(shift=1), n_removed=3))
    truth = leave_one_out(run, engine)
    assert truth.replay_error < 1e-12


def test_another_augmentation_is_another_run():
    plain = small_cnn()
    keys = {replace(plain, augmentation=a).key() for a in (None, sr.FlipAndShift(), sr.FlipAndShift(shift=1))}
    assert len(keys) == 3
    assert replace(plain, augmentation=sr.FlipAndShift()).key() in keys


@dataclass(frozen=True)
class Nothing:
    """No augmentation."""


@dataclass(frozen=True)
class Own:
    """A user's augmentation."""

    kind: str

    def view(self, x, seed, step):
        match self.kind:
            case "drawn":
                return x + torch.randn_like(x)
            case "mixed":
                return (x + x.flip(0)) / 2
            case "cut":
                return x[:, :, 1:, 1:]
            case "none":
                return None
            case "raising":
                raise ValueError("of two\nlines")
        return x.flip(-1) if (seed + step) % 2 else x


@pytest.mark.parametrize("kind", ["drawn", "mixed", "cut"])
def test_views_that_no_retraining_could_follow_are_refused(kind):
    with pytest.raises(sr.SamattrError, match="must give each point of a batch a view of its shape") as raised:
        sr.train(small_cnn(augmentation=Own(kind)))
    assert "\n" not in str(raised.value)


def test_a_users_own_augmentation_is_followed():
    run = sr.train(small_cnn(augmentation=Own("mirrored"), n_removed=3))
    truth = leave_one_out(run)
    scores = sr.attribute(run, "sam-unrolled").values[truth.removed]
    assert truth.replay_error < 1e-12
    assert torch.corrcoef(torch.stack([scores.flatten(), truth.values.flatten()]))[0, 1] > 0.95


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: sr.FlipAndShift(shift=-1), "shift must be at least 0, not -1"),
        (lambda: sr.FlipAndShift(shift=0.5), "shift cannot be 0.5"),
        (lambda: sr.train(small("cancer-logreg", augmentation=sr.FlipAndShift())), "FlipAndShift is for images"),
        (lambda: sr.train(small_cnn(augmentation=sr.FlipAndShift(shift=9))), "of more than 9 pixels"),
        (lambda: sr.train(small_cnn(augmentation=Own("none"))), "must give each point of a batch a view"),
        (
            lambda: sr.train(small_cnn(augmentation=Own("raising"))),
            "augmentation of digits-cnn failed: ValueError: of two$",
        ),
        (lambda: small(augmentation=Nothing()), "augmentation must have a method view"),
        (lambda: small(augmentation=sr.FlipAndShift), "must be an instance, not the class FlipAndShift"),
    ],
)
def test_what_does_not_fit_is_one_line(make, said):
    with pytest.raises(sr.SamattrError, match=said) as raised:
        make()
    assert "\n" not in str(raised.value)
