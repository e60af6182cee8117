"""Verdicts from frames whose answer is known."""

import pandas as pd
import pytest

from reports import claims
from reports.experiment import Measured, get_experiment

ENVIRONMENT = {"gpu": None, "cpu": "a processor", "cores": 2}


def edits(accuracies, seconds):
    rows = [
        {"workload": "w", "seed": seed, "n_train": 10, "kind": kind, "fraction": fraction, "method": method}
        | {"accuracy": value + seed / 1000, "difference": value - accuracies["retrained"], "seconds": seconds[method]}
        for seed in (0, 1, 2)
        for kind in ("random", "most")
        for fraction in (0.1, 0.4)
        for method, value in accuracies.items()
    ]
    return pd.DataFrame(rows)


NAMES = ("retrained", "no-edit", "sam-hif", "sam-hif-fast", "sam-gif", "sam-if", "if", "tracin")
FALLING = dict(zip(NAMES, (9, 0, 5, 3, 1, 5, 5, 1), strict=True))


@pytest.mark.parametrize(
    ("edited", "verdict"), [(0.905, "holds"), (0.93, "does not hold"), (0.951, "does not hold"), (0.5, "does not hold")]
)
def test_an_edit_must_match_retraining_and_beat_no_edit(edited, verdict):
    frame = edits(dict.fromkeys(NAMES, edited) | {"retrained": 0.9, "no-edit": 0.915}, FALLING)
    finding = claims._editing(frame)
    assert finding.verdict == verdict
    assert f"SAM-GIF {edited + 0.001:.3f} [" in finding.ours


def test_runtimes_must_fall():
    accuracies = dict.fromkeys(NAMES, 0.9)
    assert claims._runtime(edits(accuracies, FALLING)).verdict == "holds"
    assert claims._runtime(edits(accuracies, FALLING | {"sam-gif": 4})).verdict == "does not hold"


def test_a_claim_may_hold_on_some_workloads():
    rows = [
        {"workload": w, "seed": s, "bin": b, "method": "sam-gif", "spearman": rank + s / 1000, "error": 1.0}
        for w, ranks in (("a", (0.2, 0.8)), ("b", (0.5, 0.5)))
        for s in (0, 1, 2)
        for b, rank in ((1, ranks[0]), (5, ranks[1]))
    ]
    finding = claims._sampling(pd.DataFrame(rows))
    assert finding.verdict == "holds only on a"
    assert finding.ours.startswith("a, Spearman: rarest fifth 0.20, commonest 0.80, difference 0.60")


def test_the_page_has_a_row_a_measured_claim():
    frame = edits(dict.fromkeys(NAMES, 0.9) | {"no-edit": 0.8}, FALLING)
    measured = Measured(get_experiment("editing"), frame, 90.0, [ENVIRONMENT], [], "samattr reproduce editing", 3)
    table = claims.compute([measured], None)
    assert len(table) == 2  # accuracy and runtime
    row = table.iloc[0]
    assert row["Paper"].startswith("retrain 0.9500")
    assert row["Minutes"] == "1.5"
    assert row["Command"] == "`samattr reproduce editing`"
    assert row["Hardware"] == "a processor, 2 cores"
    assert row["Size that was run"] == "w: n = 10; 3 seeds"
    assert row["Figure"] == "[editing](editing.png)"


def test_what_is_measured_later_replaces_its_own_claims_alone():
    frame = edits(dict.fromkeys(NAMES, 0.9) | {"no-edit": 0.8}, FALLING)
    first, second = (Measured(get_experiment("editing"), frame, s, [ENVIRONMENT], [], "", 3) for s in (60.0, 120.0))
    other = {"Claim": [claims.CLAIMS[2].says, "about the whole"], "Minutes": ["3.0", "4.0"]}
    earlier = pd.concat([claims.compute([first], None), pd.DataFrame(other)])
    page = claims.updated(earlier.iloc[[3, 2, 1]], claims.compute([second], None))
    assert list(page["Claim"]) == [*(claim.says for claim in claims.CLAIMS[:3]), "about the whole"]
    assert list(page["Minutes"]) == ["2.0", "2.0", "3.0", "4.0"]


def with_accuracy(frame, value):
    quality = {"epochs": 6.0, "unseen": 0.0, "accuracy": value, "training_accuracy": 0.9, "fitted": 0.25}
    return frame.assign(**{f"trained_{name}": found for name, found in quality.items()})


def test_a_network_that_nobody_would_use_decides_nothing_about_accuracy():
    frame = edits(dict.fromkeys(NAMES, 0.9) | {"no-edit": 0.8}, FALLING)
    far = with_accuracy(frame.assign(workload="far"), 0.35)
    both = pd.concat([with_accuracy(frame, 0.86), far])
    found = {}
    for name, rows in (("both", both), ("far", far)):
        measured = Measured(get_experiment("editing"), rows, 1.0, [ENVIRONMENT], [], "samattr reproduce editing", 3)
        found[name] = claims.compute([measured], None).set_index("Claim")
    verdicts = {name: list(table["Verdict"]) for name, table in found.items()}
    assert verdicts["far"][0] == "not tested at this accuracy: far 0.35"
    assert verdicts["both"][0] == "not tested at this accuracy: far 0.35; holds on the others"
    assert verdicts["both"][1] == "holds, with networks far from the paper's accuracy: far 0.35"  # about runtime
    values = pd.DataFrame({"workload": ["far"], "method": ["none"], "metric": ["slope"], "value": [1.0]})
    measured = Measured(get_experiment("editing"), far, 1.0, [ENVIRONMENT], [], "samattr reproduce editing", 3)
    assert claims.compute([measured], values)["Verdict"].iloc[-1] == "not tested at this accuracy: far"
    size = found["both"]["Size that was run"].iloc[0]
    assert "w: n = 10, 6.0 epochs, accuracy 0.860 (training 0.900, 25.0 % of the wrong labels fitted)" in size
