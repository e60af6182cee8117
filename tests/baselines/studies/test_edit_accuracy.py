"""Edits held against retraining, group by group."""

import pandas as pd
import pytest

import samattr_ref as sr
from baselines.studies import edit_accuracy
from baselines.studies.edit_accuracy import CASES, IN_PARTS, NO_EDIT, RETRAINED, editing_methods, edits, measure
from tests.conftest import small


@pytest.mark.slow
def test_edits_hold_every_editor_against_retraining():
    workload = small(n_train=30, n_query=4, steps=60, n_removed=None)
    frame = edits(workload, ["random", "least"], [0.1, 0.2], parts=2)
    editors = {name for name, method in sr.methods().items() if method.change is not None}
    assert editors >= {"tracin", "sam-gif", "sam-hif", "if"}
    own = frame[frame["how"] == ""]
    assert set(own["method"]) == editors | {RETRAINED, NO_EDIT}
    assert set(frame.loc[frame["how"] == IN_PARTS, "method"]) == {"sam-hif-implicit"}
    assert not frame.duplicated(["method", "how", "kind", "fraction"]).any()
    retrained = frame[frame["method"] == RETRAINED]
    assert (retrained["difference"] == 0).all()
    assert retrained["cosine"].tolist() == pytest.approx([1] * 4)
    unedited = frame[frame["method"] == NO_EDIT]
    assert (unedited["size"] == 0).all()
    assert unedited["cosine"].isna().all()
    assert (frame.loc[frame["method"] == "if", "cosine"] > 0.8).all()
    assert (frame.loc[frame["status"] == "ok", "seconds"] >= 0).all()
    assert (frame["edits"] == 4).all()
    assert (retrained["all_seconds"] / retrained["seconds"]).tolist() == pytest.approx([4] * 4)
    assert (frame.loc[frame["status"] == "ok", "all_seconds"] >= 0).all()


def test_method_by_method_gives_the_same_rows(fresh_store, monkeypatch):
    """So a long table is measured cell by cell, and a point's value, which takes long itself, is found once."""
    workload = small(n_train=30, n_query=4, steps=30, n_removed=5)
    cells = [case.arguments["names"] for case in CASES["real"] if case.workload == "mnist-mlp-full"]
    assert sorted(name for names in cells for name in names) == sorted([RETRAINED, NO_EDIT, *editing_methods()])
    valued, score = [], edit_accuracy.influence_score
    monkeypatch.setattr(
        edit_accuracy, "influence_score", lambda *given, **options: valued.append(1) or score(*given, **options)
    )
    apart = pd.concat([measure(workload, [0.2], 1, names) for names in cells], ignore_index=True)
    assert len(valued) == 1
    together = measure(workload, [0.2], 1)
    costs = ["seconds", "all_seconds", "memory_bytes", "load", "disturbed"]
    key = ["method", "kind", "fraction"]
    one, other = (rows.drop(columns=costs).sort_values(key, ignore_index=True) for rows in (apart, together))
    pd.testing.assert_frame_equal(one, other)
