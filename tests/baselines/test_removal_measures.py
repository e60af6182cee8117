"""Measures that retrain, on planted scores: exact effects are best, reversed ones worst, random ones about nothing."""

import logging
import math

import numpy as np
import pytest
import torch

import baselines
import samattr_ref as sr
from baselines import removal_measures, validation
from baselines.model_randomisation import RandomLabels, model_randomisation, randomised
from baselines.removal_measures import RANDOM, brittleness, fewest_to_flip, lds, qld, removal
from baselines.retraining_measures import MEASURES, Subject, asked
from baselines.truth import random_subsets, retraining_truth
from tests.conftest import small
from tests.samattr_ref.oracle import plain_run


@pytest.fixture(scope="module")
def run():
    return sr.train(small("digits-logreg", n_train=100, n_query=12, noise=sr.LabelNoise(0.2)))


@pytest.fixture(scope="module")
def planted(run):
    """Exact effects of every point, the same reversed, and noise."""
    exact = baselines.leave_one_out(run).values
    noise = torch.randn(exact.shape, generator=torch.Generator().manual_seed(0), dtype=exact.dtype)
    return {"exact": exact, "reversed": -exact, "random": noise}


def means(measure, run, planted, share, **more):
    return {
        name: float(np.nanmean(measure(run, scores, (share,), **more)[f"{share:g}"]))
        for name, scores in planted.items()
    }


def test_a_loss_rises_most_without_the_points_that_help_it(run, planted):
    found = means(qld, run, planted, 0.05)
    assert found["reversed"] < 0 < found["exact"] and found["exact"] > 5 * abs(found["random"])


def test_qld_is_what_plain_retraining_says(run, planted):
    values = qld(run, planted["exact"], (0.05,))["0.05"]
    q, queries = 3, run.workload.queries
    best = planted["exact"][:, q].argsort(descending=True)[:5]

    def loss(left_out):
        weights = torch.ones(run.n_train, dtype=torch.float64)
        weights[left_out] = 0
        end = plain_run(run.workload, run.batches, run.step_sizes, weights).end
        return float(run.query_losses(queries, end)[q])

    chance = [loss(group) for group in random_subsets(run, 0.05, RANDOM, 0)]
    assert values[q] == pytest.approx(loss(best) - np.mean(chance), abs=1e-9)


def test_subsets_do_what_exact_effects_add_up_to(run, planted):
    found = means(lds, run, planted, 0.1)
    assert found["exact"] > 0.9 and found["reversed"] == pytest.approx(-found["exact"])
    assert abs(found["random"]) < 0.2
    subsets = baselines.subset_retraining(run, 0.1, removal_measures.SUBSETS, run.workload.seed)
    scores = planted["random"].numpy()
    expected = baselines.validation.metrics.linear_datamodelling_score(
        scores, [g.numpy() for g in subsets.groups], subsets.values.numpy()
    )
    assert lds(run, planted["random"], (0.1,))["0.1"] == pytest.approx(expected)


def test_lds_of_a_margin_is_that_of_its_own_effects(run, planted):
    queries = run.workload.queries.of("margin")
    helping = -baselines.leave_one_out(run).effects(queries)
    found, loss = lds(run, helping, (0.1,), queries)["0.1"], lds(run, planted["exact"], (0.1,))["0.1"]
    assert found.mean() > 0.9 and found == pytest.approx(loss, abs=0.2) and (found != loss).any()


def test_predictions_flip_first_without_the_points_that_help(run, planted):
    shares = (0.02, 0.1, 0.3)
    found = {name: brittleness(run, scores, shares) for name, scores in planted.items()}
    right = (run.predictions(run.workload.queries).argmax(-1) == run.workload.queries.y).numpy()
    for values in found.values():
        assert all((np.isnan(each) == ~right).all() for each in values.values())
    last = {name: np.nanmean(values["0.3"]) for name, values in found.items()}
    assert last["exact"] > last["random"] >= last["reversed"]
    rungs = [np.nanmean(each) for each in found["exact"].values()]
    assert rungs == sorted(rungs)
    fewest = fewest_to_flip(run, planted["exact"], shares)
    assert np.nanmean(fewest <= 0.1) == pytest.approx(rungs[1] * right.mean())
    q = int(np.flatnonzero(np.isfinite(fewest))[0])
    queries = run.workload.queries.take(slice(q, q + 1))
    for share in shares[: shares.index(fewest[q]) + 1]:
        group = planted["exact"][:, q].argsort(descending=True)[: round(share * 100)].sort().values
        (omega,) = retraining_truth(run, [group]).parameters
        assert (run.accuracy(queries, omega) == 0) == (share == fewest[q])


def test_a_query_that_flipped_is_retrained_no_more(run, planted, monkeypatch):
    groups, without = [], removal_measures._without
    monkeypatch.setattr(removal_measures, "_without", lambda run, named: groups.append(named) or without(run, named))
    fewest = fewest_to_flip(run, planted["exact"], (0.1, 0.02))
    assert [len(named) for named in groups] == [(~np.isnan(fewest)).sum(), (np.nan_to_num(fewest) > 0.02).sum()]
    assert {len(group) for group in groups[0]} == {2} and {len(group) for group in groups[1]} == {10}


@pytest.mark.parametrize("only", [False, True])
def test_removing_and_keeping_the_highest_scored(run, planted, only):
    share, sign = (0.5, -1) if only else (0.2, 1)
    loss = means(removal, run, planted, share, only=only)
    accuracy = means(removal, run, planted, share, only=only, accuracy=True)
    assert sign * loss["exact"] > 0 > sign * loss["reversed"]
    assert sign * accuracy["exact"] < 0
    assert abs(loss["random"]) < min(abs(loss["exact"]), abs(loss["reversed"]))
    mean = planted["exact"].mean(1).argsort(descending=True)
    kept = mean[:50] if only else mean[20:]
    left_out = torch.tensor(sorted(set(range(100)) - set(kept.tolist())))
    truth = retraining_truth(run, [left_out, *random_subsets(run, len(left_out) / 100, RANDOM, 0)])
    effects = truth.values.numpy()
    values = removal(run, planted["exact"], (share,), only=only)[f"{share:g}"]
    assert values == pytest.approx(effects[0] - effects[1:].mean(0), abs=1e-9)


def test_groups_that_are_the_same_are_retrained_once(run, monkeypatch):
    seen, truth = [], removal_measures.retraining_truth
    monkeypatch.setattr(
        removal_measures, "retraining_truth", lambda run, groups: seen.append(groups) or truth(run, groups)
    )
    scores = torch.arange(100.0, dtype=torch.float64)[:, None].expand(-1, 12)
    values = qld(run, scores, (0.02,))["0.02"]
    assert [len(groups) for groups in seen] == [1 + RANDOM]
    assert values == pytest.approx(removal(run, scores, (0.02,))["0.02"])


def test_random_labels_are_the_same_ones_in_another_order(run):
    again = randomised(run)
    assert again.train.x.equal(run.train.x) and not again.train.y.equal(run.train.y)
    assert again.train.y.sort().values.equal(run.train.y.sort().values)
    assert again.workload.queries.y.equal(run.workload.queries.y)
    assert again.accuracy(again.workload.queries) < 0.5 < run.accuracy(run.workload.queries)


def test_scores_that_know_nothing_of_labels_are_found_out(run, planted):
    inputs = run.train.x.flatten(1) @ run.workload.queries.x.flatten(1).T
    assert model_randomisation(run, inputs, lambda run: inputs) == pytest.approx(np.ones(12))
    found = model_randomisation(run, planted["exact"], lambda run: baselines.leave_one_out(run).values)
    assert np.abs(found).mean() < 0.4


@pytest.mark.parametrize(
    ("shares", "spoil", "said"),
    [
        ((0.0,), lambda s: s, "a share of 0 of 100 training points cannot be left out"),
        ((0.999,), lambda s: s, "a share of 0.999 of 100 training points cannot be left out"),
        ((0.1,), lambda s: s.T, r"scores must be \[n_train, n_query\] = \[100, 12\]"),
        ((0.1,), lambda s: s / 0, "scores hold NaN or infinity"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_retrained(run, planted, monkeypatch, shares, spoil, said):
    for name in ("retraining_truth", "subset_retraining"):
        monkeypatch.setattr(removal_measures, name, lambda *_: pytest.fail("retrained"))
    for measure in (qld, lds, brittleness, removal):
        with pytest.raises(sr.SamattrError, match=said) as raised:
            measure(run, spoil(planted["exact"]), shares)
        assert "\n" not in str(raised.value)


def test_every_measure_says_what_is_best_by_exact_effects(run, planted):
    for name in set(MEASURES) - {"model_randomisation"}:
        share = 0.2
        values = {}
        for kind in ("exact", "reversed"):
            subject = Subject(run, run.workload.queries, planted[kind], lambda run: planted["exact"])
            values[kind] = asked(f"{name}={share}").of(subject)[f"{share:g}"]
        better = values["exact"]["mean"] - values["reversed"]["mean"]
        assert (better > 0) == (MEASURES[name].best == "highest"), name
        low, high = values["exact"]["ci95"]
        assert low <= values["exact"]["mean"] <= high


def test_measures_are_further_entries_of_a_validation(fresh_store, caplog, monkeypatch):
    workload = small(n_train=40, n_query=5)
    plain = baselines.validate("grad-dot", workload)
    assert plain.measures == {} and plain.functional == "loss"
    with caplog.at_level(logging.WARNING, "samattr"):
        found = baselines.validate("grad-dot", workload, measures=("qld=0.05", "lds=0.1", "model_randomisation"))
    assert [r.message for r in caplog.records] == [
        "qld, lds, model_randomisation of grad-dot on digits-logreg: up to 66 retrainings"
    ]
    assert found.metrics == plain.metrics and found.runtime_s == plain.runtime_s
    assert set(found.measures) == {"qld", "lds", "model_randomisation"}
    run = sr.train(workload)
    values = qld(run, sr.attribute(run, "grad-dot").values, (0.05,))["0.05"]
    assert found.measures["qld"]["0.05"]["mean"] == pytest.approx(values.mean())
    assert set(found.measures["model_randomisation"]) == {"random labels"}
    caplog.clear()
    monkeypatch.setattr(validation, "attribute", lambda *_, **__: pytest.fail("attributed"))
    assert (
        baselines.validate("grad-dot", workload, measures=("lds=0.1", "qld=0.05")).measures["qld"]
        == found.measures["qld"]
    )
    assert not caplog.records
    assert baselines.validate("grad-dot", workload) == plain


def test_a_validation_of_margins(fresh_store):
    workload = small(n_train=40, n_query=5)
    loss, margin = (baselines.validate("grad-dot", workload, functional=name) for name in ("loss", "margin"))
    assert (loss.functional, margin.functional) == ("loss", "margin")
    assert margin.per_query["spearman"] == pytest.approx(loss.per_query["spearman"])  # in reverse, both of them
    assert margin.metrics["slope"] != loss.metrics["slope"]
    assert margin.influence == loss.influence
    run = sr.train(workload)
    true = baselines.leave_one_out(run).effects(workload.queries.of("margin")).mean(1)
    assert margin.mean_effect["true"] == pytest.approx(true.tolist())
    assert baselines.validate("grad-dot", workload) == loss
    measured = [
        baselines.validate("loo", workload, functional=name, measures=("qld=0.1",)) for name in ("loss", "margin")
    ]
    first, second = (each.measures["qld"]["0.1"]["mean"] for each in measured)
    assert first == pytest.approx(second) and first > 0  # the points of a query have one order by both
    tuned = baselines.validate("if", workload, functional="logit", options={"curvature": "gauss-newton"})
    assert tuned.diagnostics["tuning"]["tried"] > 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"measures": ("qdl",)}, "unknown measure 'qdl': did you mean 'qld'"),
        ({"measures": ("lds=2",)}, r"lds is taken at shares between 0 and 1, as in lds=0.05,0.5, not at '2'"),
        ({"measures": ("lds=a,b",)}, "lds is taken at shares"),
        ({"measures": ("model_randomisation=0.1",)}, "is not taken at shares of the points"),
        ({"functional": "margins"}, "unknown functional of a query 'margins'"),
    ],
)
def test_what_cannot_be_measured_is_said_before_anything_is_trained(given, said, monkeypatch):
    monkeypatch.setattr(validation, "train", lambda *_: pytest.fail("trained"))
    with pytest.raises(sr.SamattrError, match=said):
        baselines.validate("grad-dot", small(n_train=41), **given)
    with pytest.raises(sr.SamattrError, match="loo has no effect of points that were not removed"):
        baselines.validate("loo", small(n_removed=5), measures=("qld",))
    with pytest.raises(sr.SamattrError, match="attributes the queries' loss alone"):
        baselines.validate("ekfac", small(), functional="margin")


def test_shares_are_read_in_any_order():
    assert asked("brittleness=0.5,0.05,0.5").shares == (0.05, 0.5)
    assert all(math.isclose(a, b) for a, b in zip(asked("lds").shares, (0.05, 0.5), strict=True))
    assert isinstance(RandomLabels(sr.Digits()).load(0), sr.Splits)
