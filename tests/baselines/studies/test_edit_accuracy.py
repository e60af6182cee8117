"""Edits held against retraining, group by group."""

import pytest

import samattr_ref as sr
from baselines.studies.edit_accuracy import IN_PARTS, NO_EDIT, RETRAINED, edits
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
