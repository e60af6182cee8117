"""Sentences that quote numbers or verdicts by hand say what the committed rows say: each is made of them here."""

import math
import re

import pandas as pd
import pytest
import torch

from baselines.metrics import mean_interval
from baselines.studies.cases import LARGE
from baselines.studies.least_valuable import WRONG
from baselines.tiny import BATCHED
from reports.experiments.attributable import ATTRIBUTABLE
from reports.intervals import summarise
from reports.labels import label_of
from reports.verdicts import DOES_NOT_HOLD, decide
from samattr_ref.attribution import parameter_change
from samattr_ref.implicit.system import ImplicitSystem
from samattr_ref.marks import CHAOTIC
from samattr_ref.registry import get_method
from samattr_ref.training import train
from tests.test_readme import PAGES, ROOT

TEXT = {page: re.sub(r"\s+", " ", text) for page, text in PAGES.items()}


def rows(page, name, query=None):
    frame = pd.read_csv(ROOT / "reports" / "reference" / page / f"{name}.csv")
    return frame.query(query) if query else frame


def cost_of_the_exact_derivative():
    own = summarise(rows("beyond", "cost", "method == 'sam-unrolled' and how.isna()"), ["workload"], ["mean", "many"])
    own = own.set_index("workload")
    return own["mean"], own.loc["mnist-mlp", "many"]


def least_and_most(values, digits=1):
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"


def on_mnist(name):
    return rows("real", name, "workload == 'mnist-mlp-full'")


def against_retraining(workload):
    """What `sam-unrolled` reaches on a network, and the best of the other methods."""
    found = rows("real", "fidelity", f"workload == '{workload}'").set_index("method")[["spearman", "lds_0.05"]]
    ours, others = found.loc["sam-unrolled"], found.drop("sam-unrolled")
    best = [f"{others[column].max():.2f} ({label_of(others[column].idxmax())})" for column in others]
    return {"spearman": f"{ours['spearman']:.3f}", "lds": f"{ours['lds_0.05']:.3f}", "others": " and ".join(best)}


def reached(workload):
    """What each recipe of a network reaches."""
    found = rows("real", "recipes", f"workload == '{workload}'").itertuples()
    return {row.recipe: f"{row.spearman:.2f} at {row.accuracy:.3f}" for row in found}


def sentences():
    """By page, what it must say."""
    mean, many = cost_of_the_exact_derivative()
    yield (
        "README.md",
        f"costs **per query**: {least_and_most(mean)} plain trainings for one query, or for the mean of many, and all "
        f"training points; 64 queries of an MLP with 109,000 parameters took {many:.0f}",
    )
    yield "docs/faq.md", f"64 queries of an MLP with 109,000 parameters took {many:.0f} trainings"
    yield (
        "docs/faq.md",
        f"For the mean query about {('one', 'two', 'three')[round(mean['mnist-mlp']) - 1]} trainings on an MLP and "
        f"{('one', 'two', 'three')[round(mean['cifar10-cnn']) - 1]} on a CNN",
    )
    edits = on_mnist("editing").set_index("method")
    share = 100 * edits.loc["sam-hif", "size"].max()
    yield "README.md", f"SAM-HIF moves the parameters by at most {math.ceil(share)} % of what retraining does"
    unedited = edits.loc["no-edit"].query("kind == 'random' and fraction == 0.1")["difference"]
    assert len(unedited) == 3
    yield "docs/results.md", f"No edit at all comes within {unedited.mean():.3f} of retraining here"
    assert edits.loc["retrained", "seconds"].max() < edits.loc[["sam-hif", "sam-hif-fast"], "seconds"].min()
    yield "docs/results.md", "One retraining takes less time than one edit by SAM-HIF, fast or not"

    tenths = rows("real", "editing", "fraction == 0.1").set_index(["workload", "kind", "method"]).sort_index()
    on_cifar, on_fashion = (tenths.loc[name, "random"] for name in ("cifar10-cnn-norm-20000", "fashion-cnn-full"))
    away = tenths.loc["cifar10-cnn-norm-20000", "difference"].abs().unstack("kind")
    implicit = ["sam-hif-implicit", "sam-if", "sam-hif", "sam-hif-fast", "if"]
    accuracy = tenths.loc["cifar10-cnn-norm-20000", "accuracy"].unstack("kind")
    changed = (accuracy.loc[implicit] - accuracy.loc["no-edit"]).abs().to_numpy().max()
    yield (
        "docs/results.md",
        f"the edit by the exact derivative is {away.loc['sam-unrolled', 'most']:.3f} away from retraining, no edit "
        f"{away.loc['no-edit', 'most']:.3f}. Of a random tenth it is {away.loc['sam-unrolled', 'random']:.3f} and "
        f"{away.loc['no-edit', 'random']:.3f}, of the least valuable {away.loc['sam-unrolled', 'least']:.3f} and "
        f"{away.loc['no-edit', 'least']:.3f}. The implicit methods' edits end at most {changed:.3f} from no edit. "
        f"One retraining takes {on_cifar['seconds']['retrained']:.0f} s, one edit by SAM-HIF "
        f"{on_cifar['seconds']['sam-hif']:.0f} s",
    )
    elsewhere = on_cifar[on_cifar["machine"].str.startswith("Intel")]
    assert list(elsewhere.index) == ["if", "sam-hif-fast", "sam-hif-implicit", "sam-if"]
    assert set(tenths["machine"]) == {*elsewhere["machine"], "AMD EPYC, 2 cores"}
    assert set(on_fashion["machine"]) == {"AMD EPYC, 2 cores"}
    yield (
        "docs/results.md",
        "on CIFAR-10 those of SAM-HIF implicit, SAM-HIF fast, SAM-IF and IF are of an Intel Xeon, all others of an AMD "
        f"EPYC, so that the {on_cifar['seconds']['sam-hif-fast']:.0f} s of SAM-HIF fast say nothing beside the "
        f"{on_cifar['seconds']['sam-hif']:.0f} s of SAM-HIF",
    )
    ours, away = on_fashion.loc["sam-unrolled"], on_fashion["difference"].abs()
    assert away["sam-unrolled"] < away["no-edit"] < 0.01
    tenths = rows("real", "editing", "workload == 'fashion-cnn-full'").set_index(["method", "kind"])
    cosine = tenths.loc["sam-unrolled", "cosine"]
    assert set(tenths.loc["sam-hif"].index) == {"random", "most", "least"}
    yield (
        "docs/results.md",
        f"On Fashion-MNIST no edit is {away['no-edit']:.3f} away from retraining, so that accuracy says little. The "
        f"edit by the exact derivative has a cosine of {ours['cosine']:.2f} with the true change and "
        f"{ours['size']:.2f} times its size; of the most valuable tenth its cosine is {cosine['most']:.2f}, of "
        f"the least valuable {cosine['least']:.2f}. The edits by SAM-GIF and TracIn cost "
        f"{away['sam-gif']:.3f} and {away['tracin']:.3f} in accuracy. Those by SAM-HIF, fast or not, and by the "
        f"other implicit methods have at most {tenths.loc[implicit, 'size'].max():.3f} times the size of the true "
        f"change, of all three tenths. One retraining takes {on_fashion['seconds']['retrained']:.0f} s, "
        f"one edit by SAM-HIF {on_fashion['seconds']['sam-hif']:.0f} s",
    )
    followed = rows("real", "along-the-run", "part == 'term'").assign(size=lambda terms: terms["value"].abs())
    growth = rows("real", "along-the-run", "part == 'adjoint' and step == 0").set_index("workload")["adjoint"]
    early = {}
    for workload, terms in followed.groupby("workload"):
        assert terms["point"].nunique() == 8
        tenth = terms["step"] < terms["step"].max() / 10
        early[workload] = f"{100 * terms['size'][tenth].sum() / terms['size'].sum():.0f} %"
    yield (
        "docs/results.md",
        f"of the influence of the eight points that have most, the first tenth of the steps gave "
        f"{early['mnist-mlp-full']} on MNIST, {early['cifar10-cnn-norm-20000']} on CIFAR-10 and "
        f"{early['fashion-cnn-full']} on Fashion-MNIST",
    )
    assert growth.max() < CHAOTIC == 10

    cifar = against_retraining("cifar10-cnn-norm-20000")
    yield (
        "docs/results.md",
        f"`sam-unrolled` has {cifar['spearman']} with exact effects of 20 points on 20 queries, and an LDS of "
        f"{cifar['lds']} without 5 % of the points; the best of the other methods have {cifar['others']}",
    )
    larger = rows("real", "larger-removals", "method == 'sam-unrolled'").set_index("how")["lds"]
    yield "docs/results.md", f"{larger['at w = 1 − α']:.3f} in place of {larger[math.nan]:.3f}"
    detected = on_mnist("noise-rates")
    assert detected["seed"].nunique() == 3
    auc = detected.groupby("method")["auc"].mean()
    assert f"{auc['sam-if']:.2f}" == f"{auc['ekfac']:.2f}"
    yield (
        "docs/results.md",
        f"Over three seeds they have an AUC of {auc['sam-if']:.2f} by SAM-IF and EK-FAC, {auc['sam-gif']:.2f} by "
        f"SAM-GIF, {auc['loss']:.3f} by the points' losses alone, and {auc['sam-unrolled']:.2f} by the exact "
        "derivative",
    )
    along = on_mnist("checkpoints").query("method == 'sam-gif'")
    assert (along["checkpoints"].min(), along["checkpoints"].max()) == (1, 100)
    yield (
        "docs/results.md",
        f"the rank correlation with exact effects of single points is {least_and_most(along['spearman'], 3)}, and the "
        f"network that it edits for a random tenth of the points has an accuracy of "
        f"{least_and_most(along['accuracy'], 3)}",
    )
    every = on_mnist("full-size").set_index("method")
    seconds = every["seconds"]
    ranks = every.loc[["sam-if", "sam-gif", "sam-hif-fast"], "spearman_mean_query"]
    assert ranks.min() > on_mnist("fidelity").set_index("method").loc[ranks.index, "spearman"].max()
    yield (
        "docs/results.md",
        f"take {seconds['sam-if']:.0f} s by SAM-IF, {seconds['sam-gif']:.0f} s by SAM-GIF and "
        f"{seconds['sam-hif-fast']:.0f} s by fast SAM-HIF, where one training takes {seconds['training']:.0f} s. With "
        f"exact effects of {every['n_removed'].max()} points on that mean, rank correlations are higher than on single "
        f"queries: {ranks.iloc[0]:.2f}, {ranks.iloc[1]:.2f} and {ranks.iloc[2]:.2f}",
    )
    accuracy = on_mnist("lowest-removal").pivot_table("accuracy", "method", "share")
    gains = accuracy.sub(accuracy[0.0], axis=0)
    methods = gains.drop([WRONG, "random"])
    yield (
        "docs/results.md",
        f"at most {methods.max().max():.3f} by any method, {gains.loc[WRONG].max():.3f} without the labels that are "
        f"really wrong. By SAM-GIF's scores, removing a fifth of the points costs {-gains.loc['sam-gif', 0.2]:.3f}",
    )
    recipes = on_mnist("recipes").groupby("recipe")[["accuracy", "spearman"]].mean()
    yield (
        "docs/results.md",
        f"Without its warm-up the same network is as accurate ({recipes.loc['no warm-up', 'accuracy']:.3f}), but the "
        "rank correlation of predicted with exact effects of leaving out a twentieth, over three such subsets, falls "
        f"from {recipes.loc['as registered', 'spearman']:.2f} to {recipes.loc['no warm-up', 'spearman']:.2f}",
    )
    cifar, fashion = (reached(name) for name in ("cifar10-cnn-norm-20000", "fashion-cnn-full"))
    small = cifar["two plain layers, η = 0.035"].replace(" at ", " at an accuracy of ")
    yield (
        "docs/results.md",
        f"two layers with neither norm nor He's weights have {small} with η = 0.035, "
        f"{cifar['two plain layers, η = 0.07']} with η = 0.07, {cifar['two plain layers, η = 0.07, no warm-up']} "
        f"without warm-up too, and {cifar['two plain layers, η = 0.14']} with η = 0.14",
    )
    yield (
        "docs/results.md",
        f"With group norm and He's weights two have {cifar['two layers, η = 0.035']} with η = 0.035, and three "
        f"{cifar['as registered']} with η = 0.03, as registered, and {cifar['η = 0.06']} with η = 0.06",
    )
    plain = fashion["no norm, PyTorch's weights, η = 0.2"]
    yield (
        "docs/results.md",
        f"the CNN has {fashion['as registered']} as registered, with group norm, He's weights and η = 0.03, "
        f"{fashion['no norm, η = 0.1']} with no norm and η = 0.1, and "
        f"{plain} with PyTorch's weights, no norm and η = 0.2",
    )
    (resnet,) = rows("real", "recipes", "workload == 'cifar10-resnet9-narrow'").itertuples()
    yield (
        "docs/results.md",
        f"A ResNet-9 of width 8, with GroupNorm, on as many points has {resnet.spearman:.2f} at {resnet.accuracy:.3f}",
    )
    averaged = on_mnist("expected-effect").query("method == 'sam-unrolled'").set_index("k")
    assert averaged["auc"].is_monotonic_increasing and averaged.index.max() == 8
    yield "docs/results.md", "the exact derivative goes on gaining up to the eighth"
    yield (
        "docs/results.md",
        f"the scored MNIST network changes by {averaged.loc[1, 'own']:+.3f} with one run and by "
        f"{averaged.loc[8, 'own']:+.3f} with eight",
    )
    digits = rows("beyond", "expected-effect", "method == 'sam-unrolled' and k in (1, 8)")
    gains = summarise(digits, ["workload", "k"], ["own", "other"])
    assert (gains[["own_low", "other_low"]] <= 0).all().all()
    told = "no gain of the exact derivative, of one run or of eight, is told from zero"
    yield "docs/results.md", f"over the seeds of digits {told}"
    removed = on_mnist("top-removal")
    ranked = removed.pivot_table("retrained_drop", "seed", "method")
    assert len(ranked) == 3 and (ranked.idxmax(axis=1) == "sam-unrolled").all()
    drops = removed.groupby("method")[["retrained_drop", "edited_drop"]].mean()
    ours, gif, hif = (drops.loc[name, "retrained_drop"] for name in ("sam-unrolled", "sam-gif", "sam-hif"))
    yield (
        "docs/results.md",
        f"loses {ours:.3f} in accuracy on the points that they were valued for, {gif:.3f} without SAM-GIF's and "
        f"{hif:.3f} without SAM-HIF's. What the methods' own edits make of the network loses "
        f"{drops.loc['sam-unrolled', 'edited_drop']:.3f}, {drops.loc['sam-gif', 'edited_drop']:.3f} and "
        f"{drops.loc['sam-hif', 'edited_drop']:.3f}",
    )
    assert hif < 0.02
    yield "docs/results.md", f"of a drop of {hif:.3f} it shows {drops.loc['sam-hif', 'edited_drop']:.3f}"
    full = 100 * rows("large", "full-size", "method in ['sam-gif', 'sam-hif', 'sam-hif-fast']")["found"]
    yield "docs/results.md", f"had {least_and_most(full, 0)} % of the wrong labels"


FOUND = list(sentences())


@pytest.mark.parametrize(("page", "sentence"), FOUND, ids=lambda text: text[:40])
def test_a_sentence_says_what_the_rows_say(page, sentence):
    assert sentence in TEXT[page]


def test_with_relu_the_exact_derivative_is_nowhere_attributable():
    assert f"reaches a mean Spearman of {ATTRIBUTABLE} at none" in TEXT["docs/results.md"]
    ours = rows("beyond", "attributable", "method == 'sam-unrolled' and activation == 'relu'")
    assert ours.groupby(["axis", "value"])["spearman"].mean().max() < ATTRIBUTABLE


COUPLED, PLAIN = "SAM-HIF and fast SAM-HIF {share} of its {all} products", "SAM-IF and IF {share} of {all}"


@pytest.mark.parametrize(
    ("method", "said"), [("sam-hif", COUPLED), ("sam-hif-fast", COUPLED), ("sam-if", PLAIN), ("if", PLAIN)]
)
def test_what_the_search_for_the_scale_takes(method, said, monkeypatch):
    """Curvature products of one edit by the series of all implicit methods at full size, its scale sought and given."""
    counts, run = [], train(BATCHED)
    for scale in ({}, {"scale": 1e-3}):
        made = []
        times = ImplicitSystem.times
        monkeypatch.setattr(ImplicitSystem, "times", lambda *args: made.append(1) or times(*args))  # noqa: B023
        options = get_method(method).having(LARGE) | scale
        assert options["solver"] == "neumann"
        parameter_change(run.fresh(), method, [torch.arange(3)], **options)
        monkeypatch.undo()
        counts.append(len(made))
    assert said.format(share=counts[0] - counts[1], all=counts[0]) in TEXT["docs/results.md"]


def test_verdicts_in_words_are_those_of_the_intervals():
    """What the bullets below the small networks' table say of better and worse, seed by seed."""
    values = pd.read_parquet(ROOT / "reports" / "reference" / "quick" / "results.parquet")
    ranks = values[values["metric"] == "spearman_per_query"].pivot_table("value", ["workload", "seed"], "method")

    def below(first, second, workload):
        return decide(mean_interval(ranks.loc[workload, first] - ranks.loc[workload, second], (-2, 2)), below=0)

    said = TEXT["docs/results.md"]
    assert "SAM-HIF is *worse* than a plain influence function on digits-logreg" in said
    assert below("sam-hif", "if", "digits-logreg") == "holds"
    assert "`sam-hif-implicit`, ours, follows both and repairs it" in said
    assert below("sam-hif", "sam-hif-implicit", "digits-logreg") == "holds"
    assert "every other method falls behind" in said
    for method in set(ranks) - {"sam-unrolled"}:
        assert below(method, "sam-unrolled", "digits-mlp") == "holds", method
    assert (
        "SAM-GIF, the fastest method of the paper, ranks points hardly better than a single gradient dot product"
        in said
    )
    for workload in ("digits-logreg", "digits-mlp"):
        gain = mean_interval(ranks.loc[workload, "sam-gif"] - ranks.loc[workload, "grad-dot"], (-2, 2))
        assert decide(gain, above=0.02) == DOES_NOT_HOLD
