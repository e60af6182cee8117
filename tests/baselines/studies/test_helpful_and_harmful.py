"""The gallery's rows are the ends of each method's ranking, with the exact effects beside them."""

import base64

import numpy as np
import pytest

import baselines
import samattr_ref as sr
from baselines.studies import helpful_and_harmful as study
from tests.conftest import small

METHODS = ("loo", "sam-unrolled", "random")


@pytest.fixture(scope="module")
def run():
    return sr.train(small("digits-mlp", n_train=40, n_removed=15, hidden=(4,), steps=20, n_query=5))


@pytest.fixture(scope="module")
def frame(run):
    return study.measure(run.workload, METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_pairs_are_the_ends_of_the_ranking(run, frame, method):
    truth = baselines.leave_one_out(run)
    exact = np.full((40, 5), np.nan)
    exact[truth.removed] = truth.values
    scores = exact if method == "loo" else sr.attribute(run, method, run.splits.queries).values.numpy()
    for q in range(5):
        own = frame[(frame["part"] == study.PAIR) & (frame["method"] == method) & (frame["query"] == q)]
        known = np.flatnonzero(np.isfinite(scores[:, q]))
        best = known[np.argsort(-scores[known, q])]
        ends = own[own["rank"] != 0].set_index("rank")
        assert [int(ends.loc[rank, "point"]) for rank in range(1, study.SHOWN + 1)] == list(best[: study.SHOWN])
        assert [int(ends.loc[-rank, "point"]) for rank in range(1, study.SHOWN + 1)] == list(best[::-1][: study.SHOWN])
        places = own["point"].to_numpy(int)
        np.testing.assert_allclose(own["score"].to_numpy(float), scores[places, q])
        np.testing.assert_allclose(own["exact"].to_numpy(float), exact[places, q])
        assert set(truth.removed.tolist()) <= set(places)  # so few that effects are compared at each


def test_suspects_are_the_lowest_influence_scores(run, frame):
    own = frame[(frame["part"] == study.SUSPECT) & (frame["method"] == "sam-unrolled")].sort_values("rank")
    influence = sr.influence_score(run, "sam-unrolled", run.splits.validation)
    assert own["point"].astype(int).tolist() == influence.argsort()[: study.SUSPECTS].tolist()


def test_every_named_point_and_query_has_labels_and_a_picture(run, frame):
    points = frame[frame["part"] == study.POINT].set_index("index")
    named = frame[frame["part"].isin([study.PAIR, study.SUSPECT])]["point"]
    assert set(points.index) == set(named)
    for i, row in points.iterrows():
        assert (row["given"], row["clean"]) == (int(run.train.y[int(i)]), int(run.splits.clean[int(i)]))
        assert bool(row["wrong"]) == bool(run.splits.noisy[int(i)])
        assert base64.b64decode(row["image"]).startswith(b"\x89PNG")
    queries = frame[frame["part"] == study.QUERY]
    assert queries["given"].tolist() == run.splits.queries.y.tolist()
    np.testing.assert_allclose(queries["loss"].to_numpy(float), run.query_losses(run.splits.queries))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (sr.BreastCancer(n_train=30, n_query=4, n_tuning=4, n_validation=6), r"[a-z ]+ [-+]\d+\.\d, "),
        (sr.Docstrings(n_train=30, n_query=4, n_tuning=4, n_validation=6), r"."),
    ],
)
def test_tables_and_texts_have_words(data, said):
    model = sr.LogisticRegression()
    workload = sr.Workload("words", data, model, sr.SamRecipe(steps=5), dtype="float64", n_removed=4)
    frame = study.measure(workload, ("loo", "random"))
    shown = frame[frame["part"].isin([study.POINT, study.QUERY])]
    assert shown["text"].str.match(said).all() and shown["image"].isna().all()
    texts = data.described(0)
    assert shown[shown["part"] == study.QUERY]["text"].tolist() == [text[: study.LONGEST] for text in texts[1]]
    assert len(texts[0]) == 30
