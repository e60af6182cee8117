"""Scores of every point, with what they cost."""

from baselines.studies.every_point import full_size
from tests.conftest import small

WORKLOAD = small(n_train=50, n_validation=40)


def test_full_size():
    methods = {"sam-gif": {"checkpoints": 5}, "sam-hif": {"solver": "gmres", "max_iterations": 1, "tolerance": 1e-14}}
    scores = full_size(WORKLOAD.override(n_removed=6), methods).set_index("method")
    assert list(scores.index) == ["training", "sam-gif", "sam-hif", "loo"]
    assert scores.loc["sam-gif", "status"] == "ok"
    assert "gmres" in scores.loc["sam-hif", "status"]
    assert -1 <= scores.loc["sam-gif", "spearman_mean_query"] <= 1
    assert (scores["n_removed"] == 6).all()
    assert (scores["process_bytes"] > 2**26).all()
