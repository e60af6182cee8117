"""Verdicts from frames whose answer is known."""

import pandas as pd
import pytest

from baselines.studies.gif_errors import STAGES
from reports import claims
from reports.committed import read_page
from reports.experiment import Measured, get_experiment
from tests.test_readme import ROOT

REFERENCE = ROOT / "reports" / "reference"

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


def seeded(values, **columns):
    """A row a seed."""
    return pd.DataFrame(
        [{"workload": "w", "seed": seed, "n_train": 10, **columns, **of} for seed, of in enumerate(values)]
    )


ABOVE, BELOW, BOTH = (0.3, 0.31, 0.32), (-0.3, -0.31, -0.32), (-0.2, 0.1, 0.3)
"""Three seeds of a quantity whose interval is above 0, below it, and on both sides."""


def top(deltas):
    rows = [seeded([{"difference": d, "retrained_drop": 0.1} for d in deltas], method=name) for name in claims._TOP]
    return pd.concat(rows)


def checkpoints(gains):
    rows = [
        seeded([{"accuracy": 0.5 + (gain if c > 3 else 0), "spearman": 0.1} for gain in gains], checkpoints=c)
        for c in (3, 5, 10, 40)
    ]
    return pd.concat(rows).assign(method="sam-gif", unedited=0.9)


def noise(shifts):
    rows = [seeded([{"found": 0.9 + s / 10} for s in shifts], method=name) for name in claims.PAPER_METHODS]
    return pd.concat(rows).assign(rate=0.1, inspected=0.4)


def sgd(changes):
    rows = [
        seeded([{"spearman": 0.5 - (change if o == "SGD" else 0)} for change in changes], method=name, optimiser=o)
        for name in claims.PAPER_METHODS
        for o in ("SAM", "SGD")
    ]
    return pd.concat(rows)


def sampling(gains):
    rows = [
        seeded([{"spearman": 0.3 + (gain if b == 5 else 0), "error": 1.0} for gain in gains], bin=b) for b in (1, 5)
    ]
    return pd.concat(rows).assign(method="sam-gif")


def slopes(shifts):
    rows = [
        seeded([{"slope": 1 + shift} for shift in shifts], method=name)
        for name in ("sam-hif", "sam-hif-implicit", "sam-if")
    ]
    return pd.concat(rows).assign(rho=0.1, rho_over_grad_norm=2.0)


def runtimes(gaps):
    order = ("retrained", "sam-hif", "sam-hif-fast", "sam-gif")
    rows = [seeded([{"seconds": 5 - i * gap} for gap in gaps], method=name) for i, name in enumerate(order)]
    return pd.concat(rows)


def full_size(shifts):
    frame = noise(shifts)
    return frame.assign(seconds=60.0, process_bytes=2**30)


@pytest.mark.parametrize(
    ("find", "frame"),
    [
        (claims._runtime, runtimes),
        (claims._checkpoints, checkpoints),
        (claims._noise, noise),
        (claims._sgd, sgd),
        (claims._sampling, sampling),
        (claims._underestimates, slopes),
        (claims._full_size, full_size),
    ],
    ids=lambda of: of.__name__,
)
def test_every_claim_is_decided_by_the_whole_interval(find, frame):
    shifts = {"holds": ABOVE, "does not hold": BELOW, "undecided": BOTH}
    assert {word: find(frame(values)).verdict for word, values in shifts.items()} == {word: word for word in shifts}
    assert find(frame(ABOVE[:1])).verdict == "undecided"  # a single seed has no interval


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ((0.001, -0.002, 0.001), "holds"),
        ((0.1, 0.11, 0.12), "does not hold"),
        ((-0.1, -0.11, -0.12), "does not hold"),
        ((0.0, 0.01, 0.03), "undecided"),
        ((-0.5, 0.0, 0.5), "undecided"),
        ((0.0,), "undecided"),
    ],
)
def test_an_edit_is_near_where_the_whole_interval_is(differences, verdict):
    assert claims._top(top(differences)).verdict == verdict
    frame = pd.concat(
        [
            top(differences).assign(method=name, kind="random", fraction=0.1, accuracy=0.9, seconds=1.0)
            for name in (*claims.PAPER_METHODS, "retrained")
        ]
        + [
            top([0.6] * len(differences)).assign(
                method="no-edit", kind="random", fraction=0.1, accuracy=0.9, seconds=1.0
            )
        ]
    )
    assert claims._editing(frame).verdict == verdict
    values = pd.DataFrame({"workload": ["w"], "method": ["none"], "metric": ["slope"], "value": [1.0]})
    unedited = frame.assign(method=frame["method"].replace({"sam-gif": "no-edit", "no-edit": "sam-gif"}))
    measured = Measured(get_experiment("editing"), unedited, 1.0, [ENVIRONMENT], [], "samattr reproduce editing", 3)
    other = {"holds": "does not hold", "does not hold": "holds"}.get(verdict, verdict)
    assert claims.tested([measured], values)[-1].verdicts == {"w": other}


def test_a_verdict_of_a_single_seed_says_that_there_is_no_interval():
    frame = edits(dict.fromkeys(NAMES, 0.9) | {"no-edit": 0.8}, FALLING)
    one = Measured(get_experiment("editing"), frame[frame["seed"] == 0], 1.0, [ENVIRONMENT], [], "", 1)
    assert set(claims.compute([one], None)["Verdict"]) == {"undecided, of a single seed there is no interval"}


def test_disturbed_runtimes_are_marked():
    frame = edits(dict.fromkeys(NAMES, 0.9), FALLING).assign(disturbed=lambda rows: rows["method"] == "sam-hif")
    assert "SAM-HIF 5.00 [5.00, 5.00] s *, SAM-HIF fast 3.00 [3.00, 3.00] s," in claims._runtime(frame).ours


def test_a_claim_holds_in_part_where_it_holds_by_some_methods():
    finding = claims.Finding({}, {("w", "A"): "holds", ("w", "B"): "does not hold", ("v", "A"): "undecided"})
    assert finding.verdict == "holds on w by A; undecided on v by A; does not hold on w by B"
    claim = claims.CLAIMS[1]
    assert [claim.word(finding, workload, {}) for workload in ("w", "v")] == ["holds in part", "undecided"]


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["desk", "large", "real"])
def test_committed_verdicts_and_numbers_are_those_of_the_rows(profile):
    page = read_page(REFERENCE / profile)
    found = claims.compute(page.measured, page.values).set_index("Claim")
    kept = pd.read_csv(page.folder / "claims.csv", dtype=str, keep_default_na=False).set_index("Claim")
    pd.testing.assert_frame_equal(found[["Ours", "Verdict"]], kept[["Ours", "Verdict"]])


def test_how_far_a_bound_says_something_is_decided_by_its_intervals():
    def answer(*bounds):
        rows = [
            {"workload": "w", "seed": seed, "last": last, "bound": bound + seed / 100}
            for last, bound in zip((1, 5, 20), bounds, strict=True)
            for seed in (0, 1, 2)
        ]
        stages = [{"workload": "w", "seed": 0, "stage": stage, "change": 1.0} for stage in STAGES]
        return get_experiment("omitted-term").answer(pd.DataFrame(rows + stages))

    assert "says something for the last 5 steps at most" in answer(0.5, 0.7, 2.0)
    assert "is undecided up to the last 5 steps, where its intervals hold 1, and says nothing of more" in answer(
        0.99, 0.99, 2.0
    )
    assert "says nothing, however few steps" in answer(2.0, 3.0, 4.0)


def test_a_claim_may_hold_on_some_workloads():
    rows = [
        {"workload": w, "seed": s, "bin": b, "method": "sam-gif", "spearman": rank + s / 1000, "error": 1.0}
        for w, ranks in (("a", (0.2, 0.8)), ("b", (0.5, 0.5)))
        for s in (0, 1, 2)
        for b, rank in ((1, ranks[0]), (5, ranks[1]))
    ]
    finding = claims._sampling(pd.DataFrame(rows))
    assert finding.verdict == "holds on a; does not hold on b"
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


def test_a_claim_none_of_whose_methods_was_measured_yet_has_no_row():
    frame = edits(dict.fromkeys(NAMES, 0.9), FALLING).query("method == 'sam-hif'").assign(method="sam-unrolled")
    measured = Measured(get_experiment("editing"), frame, 90.0, [ENVIRONMENT], [], "samattr reproduce editing", 1)
    assert claims.compute([measured], None).empty


def test_workloads_of_one_seed_beside_others_are_named():
    frame = edits(dict.fromkeys(NAMES, 0.9) | {"no-edit": 0.8}, FALLING)
    both = pd.concat([frame, frame[frame["seed"] == 0].assign(workload="v")])
    measured = Measured(get_experiment("editing"), both, 90.0, [ENVIRONMENT], [], "samattr reproduce editing", 3)
    row = claims.compute([measured], None).iloc[0]
    assert row["Verdict"] == "holds on w; undecided on v, of a single seed (v) there is no interval"
    assert row["Size that was run"] == "w: n = 10, 3 seeds; v: n = 10, 1 seed"


@pytest.mark.parametrize("absent", [["no-edit"], ["retrained"], ["sam-hif", "sam-hif-fast"], ["no-edit", "sam-gif"]])
def test_what_is_not_measured_yet_leaves_claims_undecided(absent):
    """Each method of a trained network is a cell: a job that was stopped has some of them."""
    frame = edits(dict.fromkeys(NAMES, 0.9) | {"no-edit": 0.8}, FALLING)
    frame = frame[~frame["method"].isin(absent)]
    measured = Measured(get_experiment("editing"), frame, 90.0, [ENVIRONMENT], [], "samattr reproduce editing", 3)
    ranks = {"workload": "w", "metric": "spearman_per_query", "method": "sam-gif", "seed": [0, 1, 2]}
    found = claims.tested([measured], pd.DataFrame({**ranks, "value": [0.5, 0.6, 0.7]}))
    assert len(found) == (2 if "no-edit" in absent else 3)
    edited, runtime = (one.verdict for one in found[:2])
    assert edited == ("holds" if absent == ["retrained"] else "undecided")
    assert runtime == ("holds" if absent == ["no-edit"] else "undecided")


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
    assert verdicts["both"][0] == "not tested at this accuracy: far 0.35; on the others: holds"
    assert verdicts["both"][1] == "holds; networks far from the paper's accuracy: far 0.35"  # about runtime
    values = pd.DataFrame({"workload": ["far"], "method": ["none"], "metric": ["slope"], "value": [1.0]})
    measured = Measured(get_experiment("editing"), far, 1.0, [ENVIRONMENT], [], "samattr reproduce editing", 3)
    assert claims.compute([measured], values)["Verdict"].iloc[-1] == "not tested at this accuracy: far"
    size = found["both"]["Size that was run"].iloc[0]
    assert "w: n = 10, 6.0 epochs, accuracy 0.860 (training 0.900, 25.0 % of the wrong labels fitted)" in size
