"""Kinds of the most harmful and the most helpful points, and what the network makes of them."""

import base64
import io

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import samattr_ref as sr
from baselines.studies import agreement, kinds_of_points
from baselines.studies.detection import held_out_probabilities
from baselines.studies.kinds_of_points import CASES, FEW, FOLDS, KINDS, NEIGHBOURS, SHOWN, labelled_points, measure
from baselines.truth import leave_one_out
from samattr_ref.attribution import influence_score
from tests.conftest import small

WORKLOAD = small(n_train=50, n_validation=40)
LOWEST = round(0.05 * 50)


@pytest.fixture(scope="module")
def run():
    return sr.train(WORKLOAD)


@pytest.fixture(scope="module")
def points(run):
    return labelled_points(run)


@pytest.fixture(scope="module")
def frame():
    return measure(WORKLOAD, ["loo", "sam-if"])


def test_labelled_points(run, points):
    noisy = run.splits.noisy.numpy()
    assert ((points["kind"] == "wrong") == noisy).all()
    assert ((points["given"] != points["clean"]) == noisy).all()
    x, clean = run.train.x.flatten(1).numpy(), run.splits.clean.numpy()
    held_out = held_out_probabilities(run, FOLDS).argmax(1)
    for i, kind in enumerate(points["kind"]):
        if kind == "wrong":
            continue
        others = np.delete(np.arange(50), i)
        distance = ((x[others] - x[i]) ** 2).sum(1)
        last = np.sort(distance)[NEIGHBOURS - 1]
        same = clean[others] == clean[i]  # which of several at the same distance are among the nearest is open
        surely, at_most = (same & (distance < last - 1e-6)).sum(), (same & (distance <= last + 1e-6)).sum()
        assert surely < FEW if kind == "rare" else at_most >= FEW
        assert kind == "rare" or (kind == "hard") == (held_out[i] != clean[i])
    assert set(points["kind"]) >= {"wrong", "none"}


def test_a_copy_of_a_point_is_a_neighbour_and_the_point_itself_is_none():
    """Eleven copies of one image, with two labels: its neighbours are the ten others."""
    image = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    rest = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    x, y = torch.cat([image.expand(11, -1, -1, -1), rest + 5]), torch.tensor([0] * 3 + [1] * 8 + [2] * 20)

    class Copies:
        def load(self, seed):
            held_out = sr.Examples(rest[:4], torch.tensor([0, 1, 2, 2]))
            noisy = torch.zeros(31, dtype=torch.bool)
            return sr.Splits(sr.Examples(x, y), held_out, held_out, held_out, noisy, 3)

    workload = sr.Workload("copies", Copies(), sr.LogisticRegression(), sr.SamRecipe(steps=5, batch_size=10))
    kinds = labelled_points(sr.train(workload))["kind"]
    assert (kinds[:3] == "rare").all()
    assert (kinds[3:] != "rare").all()


def plain(run, points, chosen):
    """Shares, accuracies and losses of some points, one point after the other."""
    probabilities = run.predictions(run.train).double().numpy()
    sums = dict.fromkeys([*KINDS, "accuracy_given", "accuracy_clean", "loss_given", "loss_clean"], 0.0)
    for i in chosen:
        sums[points["kind"][i]] += 1
        for name in ("given", "clean"):
            label = points[name][i]
            sums[f"accuracy_{name}"] += probabilities[i].argmax() == label
            sums[f"loss_{name}"] -= np.log(probabilities[i, label])
    return {name: value / len(chosen) for name, value in sums.items()}


def test_shares_accuracies_and_losses_are_those_of_the_points(run, points, frame):
    scores = {
        "loo": leave_one_out(run).influence.numpy(),
        "sam-if": influence_score(
            run, "sam-if", run.splits.validation, **agreement.chosen_options("sam-if", WORKLOAD)
        ).numpy(),
    }
    expected = {("–", "all"): range(50)}
    for name, of in scores.items():
        order = np.argsort(of, kind="stable")
        lowest, highest = order[:LOWEST], order[-LOWEST:]
        right = [i for i in lowest if points["kind"][i] != "wrong"]
        expected |= {(name, "lowest"): lowest, (name, "lowest, right label"): right, (name, "highest"): highest}
    groups = frame[frame["image"].isna()].set_index(["method", "group"])
    assert list(groups.index) == list(expected)
    for key, chosen in expected.items():
        row = groups.loc[key]
        assert row["points"] == len(chosen)
        if len(chosen):
            for name, value in plain(run, points, chosen).items():
                assert row[name] == pytest.approx(value, abs=1e-12)
        else:
            assert row[list(KINDS)].isna().all()


def test_images_are_those_of_the_ends_by_the_first_method(run, points, frame):
    shown = frame[frame["image"].notna()]
    order = np.argsort(leave_one_out(run).influence.numpy(), kind="stable")
    assert list(shown["point"]) == [*order[:SHOWN], *order[::-1][:SHOWN]]
    assert list(shown["group"]) == ["lowest"] * SHOWN + ["highest"] * SHOWN
    assert set(shown["method"]) == {"loo"}
    for row in shown.itertuples():
        assert (row.kind, row.given, row.clean) == tuple(points.loc[row.point, ["kind", "given", "clean"]])
        image = np.asarray(Image.open(io.BytesIO(base64.b64decode(row.image))))
        np.testing.assert_allclose(image / 255, run.train.x[int(row.point), 0], atol=0.501 / 255)


def test_images_of_three_channels_keep_their_colours():
    x = torch.linspace(-1, 1, 2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    (text,) = kinds_of_points.png_images(x, [1])
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))
    np.testing.assert_allclose(image / 127.5 - 1, x[1].permute(1, 2, 0), atol=0.501 / 127.5)


def test_rows_do_not_grow_with_the_points(frame):
    more = measure(WORKLOAD.override(n_train=70), ["loo", "sam-if"])
    assert len(more) == len(frame) == 1 + 3 * 2 + 2 * SHOWN


def test_points_without_a_score_are_in_no_group_but_that_of_all():
    frame = measure(WORKLOAD.override(n_removed=20), ["loo"])
    groups = frame[frame["image"].isna()].set_index("group")
    assert list(groups.loc[["all", "lowest", "highest"], "points"]) == [50, 1, 1]
    assert frame.loc[frame["image"].notna(), "score"].notna().all()


def test_the_case_of_full_size_is_measured_on_few_points(monkeypatch):
    monkeypatch.setattr(agreement, "WHOLE", 50)
    (case,) = CASES["real"]
    frame = measure(small("digits-mlp", n_train=50, dtype="float32"), **case.arguments)
    assert list(pd.unique(frame["method"])) == ["–", "sam-unrolled", "sam-if", "sam-gif", "gradient-norm"]
    shares = frame.loc[frame["group"].isin(["all", "lowest", "highest"]) & frame["image"].isna(), list(KINDS)]
    assert len(shares) == 9
    np.testing.assert_allclose(shares.sum(axis=1), 1)


def test_inputs_that_are_no_images_are_one_line():
    with pytest.raises(sr.SamattrError, match=r"inputs of cancer-logreg are \[30\]: choose a workload of images"):
        measure(small("cancer-logreg"), ["sam-gif"])
