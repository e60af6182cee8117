"""Scores of another program: every kind of file gives the metrics of the method, and what is no such file one line."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

import baselines
import samattr_ref as sr
from baselines import others_scores
from baselines.score_files import checked_scores, identity, read_scores
from baselines.studies.profiles import PROFILES, Results
from tests.conftest import small

NOISY = {"noise": sr.LabelNoise(0.2)}


@pytest.fixture(scope="module")
def run():
    return sr.train(small(**NOISY))


@pytest.fixture(scope="module")
def scores(run):
    return sr.attribute(run, "grad-dot").values.cpu()


@pytest.fixture(scope="module")
def expected(run):
    return baselines.validate("grad-dot", run.workload)


def write_npy(path, array, names, metadata):
    np.save(path, array)


def write_scores(path, array, names, metadata):
    save_file({"scores": torch.from_numpy(array), "other": torch.ones(2)}, path, metadata)


def write_only(path, array, names, metadata):
    save_file({"anything": torch.from_numpy(array)}, path, metadata)


def write_wide(path, array, names, metadata):
    columns = {str(i): array[:, i] for i in reversed(range(array.shape[1]))}  # in another order than their names
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)


def write_frame(path, array, names, metadata):
    pd.DataFrame(array).to_parquet(path)


def write_long(path, array, names, metadata):
    frame = pd.DataFrame(array).stack().rename_axis(names).rename("score").reset_index()
    table = pa.Table.from_pandas(frame.sample(frac=1, random_state=0)[["score", *names]], preserve_index=False)
    pq.write_table(table.replace_schema_metadata(metadata), path)


WRITERS = {
    "npy": write_npy,
    "safetensors": write_scores,
    "only.safetensors": write_only,
    "parquet": write_wide,
    "frame.parquet": write_frame,
    "long.parquet": write_long,
}
SAYING = {"safetensors", "only.safetensors", "parquet", "long.parquet"}
"""Those that say themselves which run they are of."""


@pytest.mark.parametrize("layout", ["train-query", "query-train"])
@pytest.mark.parametrize("kind", WRITERS)
def test_every_file_in_both_layouts_gives_the_very_metrics_of_the_method(kind, layout, run, scores, expected, tmp_path):
    path, turned = tmp_path / f"scores.{kind}", layout == "query-train"
    array = np.ascontiguousarray(scores.numpy().T if turned else scores.numpy())
    names = ["query", "train"] if turned else ["train", "query"]
    WRITERS[kind](path, array, names, identity(run))
    found = read_scores(path, layout, None if kind in SAYING else run.digest)
    assert found.values.equal(scores) and found.validation is None
    assert found.made_for == (identity(run) if kind in SAYING else {"run": run.digest})
    result = baselines.validate_scores(found.values, run.workload, "mine", made_for=found.made_for, seconds=1.5)
    without = {"noise_auc": None, "noise_ap": None}
    assert result.metrics == expected.metrics | without and result.intervals == expected.intervals | without
    assert (result.per_query, result.mean_effect) == (expected.per_query, expected.mean_effect)
    assert (result.method, result.n_removed, result.runtime_s, result.peak_memory_bytes) == ("mine", 60, 1.5, None)
    assert expected.metrics["noise_auc"] is not None and result.influence == {"score": [], "noisy": []}
    assert json.loads(json.dumps(asdict(result), allow_nan=False))["method"] == "mine"


def test_scores_on_the_validation_set_give_the_noise_auc(run, scores, expected, tmp_path):
    means = sr.influence_score(run, "grad-dot", run.splits.validation).cpu()
    save_file({"scores": scores, "validation": means}, tmp_path / "s.safetensors", identity(run))
    found = read_scores(tmp_path / "s.safetensors", "train-query")
    given = {"made_for": found.made_for, "validation": found.validation}
    result = baselines.validate_scores(found.values, run.workload, **given)
    assert result.metrics == expected.metrics and result.influence == expected.influence
    with pytest.raises(sr.SamattrError, match="scores on the validation set are of 59 training points, not of 60"):
        baselines.validate_scores(scores, run.workload, validation=means[1:])
    with pytest.raises(
        sr.SamattrError, match=r"scores on the validation set must be \[n_train\], not of shape \[60, 1"
    ):
        baselines.validate_scores(scores, run.workload, validation=means[:, None])


def test_the_truth_of_some_points_takes_their_scores(run, scores):
    some = run.workload.override(n_removed=9)
    result, expected = baselines.validate_scores(scores, some), baselines.validate("grad-dot", some)
    assert result.n_removed == 9 and result.per_query == expected.per_query
    assert baselines.validate_scores(scores.tolist(), some).per_query == expected.per_query
    assert baselines.validate_scores(-scores, some).per_query["spearman"] == pytest.approx(
        [-value for value in expected.per_query["spearman"]]
    )


def test_nothing_of_the_result_is_stored(scores, run, store_folder):
    before = sorted(store_folder.rglob("*"))
    baselines.validate_scores(scores, run.workload)
    assert sorted(store_folder.rglob("*")) == before


@pytest.mark.parametrize(
    "values",
    [
        torch.arange(6).reshape(3, 2),
        torch.arange(6.0).reshape(3, 2).bfloat16(),
        np.arange(6, dtype=">i2").reshape(3, 2),
        np.arange(6, dtype=np.float16).reshape(3, 2),
        [[0, 1], [2, 3], [4, 5.0]],
    ],
)
def test_numbers_of_any_precision_are_taken(values):
    assert checked_scores(values, 2).equal(torch.arange(6, dtype=torch.float64).reshape(3, 2))


GOOD = np.arange(12.0).reshape(4, 3)
RUN = "0" * 64


def pairs(**columns):
    frame = pd.DataFrame([(i, q, 1.0) for i in range(4) for q in range(3)], columns=["train", "query", "score"])
    return frame.assign(**columns)


def frame(path, table):
    table.to_parquet(path, index=False)


def holes(table, column):
    return table.astype({column: "Int64"}).assign(**{column: lambda t: t[column].where(t.index != 2)})


BAD = {
    "missing": ("a.npy", lambda path: None, "there is no file"),
    "folder": ("a.parquet", Path.mkdir, "there is no file"),
    "ending": ("a.csv", lambda path: path.write_text("1,2"), "unknown kind of score file '.csv'"),
    "no ending": ("a", lambda path: path.write_text("1,2"), "unknown kind of score file ''"),
    "npy text": ("a.npy", lambda path: path.write_text("1,2"), "cannot be read"),
    "npy empty": ("a.npy", lambda path: path.write_bytes(b""), "cannot be read"),
    "npy cut": (
        "a.npy",
        lambda path: (np.save(path, GOOD), path.write_bytes(path.read_bytes()[:-9])),
        "cannot be read",
    ),
    "npz": ("a.npy", lambda path: np.savez(path.open("wb"), GOOD), "cannot be read"),
    "pickle": ("a.npy", lambda path: np.save(path, GOOD.astype(object)), "Object arrays cannot be loaded"),
    "complex": ("a.npy", lambda path: np.save(path, GOOD + 1j), "must be real numbers, not complex128"),
    "text": ("a.npy", lambda path: np.save(path, GOOD.astype(str)), "must be real numbers, not <U32"),
    "bools": ("a.npy", lambda path: np.save(path, GOOD > 3), "must be real numbers, not bool"),
    "fields": ("a.npy", lambda path: np.save(path, np.zeros(3, "f8,f8")), "must be real numbers"),
    "nan": ("a.npy", lambda path: np.save(path, np.where(GOOD > 9, np.nan, GOOD)), "NaN or infinity in 2 of 12 scores"),
    "inf": (
        "a.npy",
        lambda path: np.save(path, np.where(GOOD > 10, -np.inf, GOOD)),
        "NaN or infinity in 1 of 12 scores",
    ),
    "one axis": ("a.npy", lambda path: np.save(path, GOOD[0]), r"must be \[n_train, n_query\], not of shape \[3\]"),
    "three axes": ("a.npy", lambda path: np.save(path, GOOD[None]), r"not of shape \[1, 4, 3\]"),
    "safetensors cut": (
        "a.safetensors",
        lambda path: (write_scores(path, GOOD, [], None), path.write_bytes(path.read_bytes()[:-9])),
        "cannot be read",
    ),
    "safetensors text": ("a.safetensors", lambda path: path.write_text("1,2"), "cannot be read"),
    "two tensors": (
        "a.safetensors",
        lambda path: save_file({"a": torch.ones(2), "b": torch.ones(2)}, path),
        "holds a, b: name the tensor of the scores 'scores'",
    ),
    "no tensor": ("a.safetensors", lambda path: save_file({}, path), "holds nothing: name"),
    "complex tensor": (
        "a.safetensors",
        lambda path: save_file({"a": torch.ones(2, 2, dtype=torch.complex64)}, path),
        "must be a dense tensor of real numbers",
    ),
    "validation nan": (
        "a.safetensors",
        lambda path: save_file({"scores": torch.ones(4, 3), "validation": torch.full((4,), torch.nan)}, path),
        "NaN or infinity in 4 of 4 scores on the validation set",
    ),
    "parquet text": ("a.parquet", lambda path: path.write_text("1,2"), "cannot be read"),
    "parquet cut": (
        "a.parquet",
        lambda path: (frame(path, pairs()), path.write_bytes(path.read_bytes()[:-30])),
        "cannot be read",
    ),
    "names": (
        "a.parquet",
        lambda path: frame(path, pd.DataFrame(GOOD, columns=["q0", "q1", "q2"])),
        "has the columns q0, q1, q2: give it train, query, score, or one a column of the scores, 0, 1, …",
    ),
    "from 1": ("a.parquet", lambda path: frame(path, pd.DataFrame(GOOD, columns=["1", "2", "3"])), "has the columns 1"),
    "an index": (
        "a.parquet",
        lambda path: pd.DataFrame(GOOD, index=[3, 2, 0, 1]).to_parquet(path),
        "has the columns 0",
    ),
    "no columns": ("a.parquet", lambda path: pq.write_table(pa.table({}), path), "has the columns nothing"),
    "one too many": ("a.parquet", lambda path: frame(path, pairs(note=1)), "has the columns train, query, score, note"),
    "wide text": (
        "a.parquet",
        lambda path: frame(path, pd.DataFrame({"0": ["a"], "1": ["b"]})),
        "column 0 must hold real",
    ),
    "wide null": (
        "a.parquet",
        lambda path: frame(path, holes(pairs()[["train"]].rename(columns={"train": "0"}), "0")),
        "NaN",
    ),
    "score text": ("a.parquet", lambda path: frame(path, pairs(score="a")), "column score must hold real numbers, not"),
    "train real": (
        "a.parquet",
        lambda path: frame(path, pairs(train=1.0)),
        "train must hold whole numbers, not double",
    ),
    "score null": ("a.parquet", lambda path: frame(path, holes(pairs(score=2), "score")), "NaN or infinity in 1 of 12"),
    "train null": ("a.parquet", lambda path: frame(path, holes(pairs(), "train")), "do not name every pair"),
    "pair missing": ("a.parquet", lambda path: frame(path, pairs()[1:]), "11 rows do not name every pair"),
    "pair twice": (
        "a.parquet",
        lambda path: frame(path, pairs().iloc[[0, *range(11)]].assign(train=lambda t: t.train.where(t.train < 3, 3))),
        "12 rows do not name every pair",
    ),
    "negative": ("a.parquet", lambda path: frame(path, pairs(train=lambda t: t.train - 1)), "do not name every pair"),
    "far": ("a.parquet", lambda path: frame(path, pairs(train=lambda t: t.train * 10**18)), "do not name every pair"),
    "no rows": ("a.parquet", lambda path: frame(path, pairs()[:0]), "0 rows do not name every pair"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_score_file_is_one_line(case, tmp_path):
    name, make, said = BAD[case]
    make(tmp_path / name)
    with pytest.raises(sr.SamattrError, match=said) as raised:
        read_scores(tmp_path / name, "train-query", RUN)
    assert "\n" not in str(raised.value)


def test_the_layout_is_never_guessed(run, scores, tmp_path):
    np.save(tmp_path / "a.npy", scores.numpy())
    with pytest.raises(sr.SamattrError, match="unknown layout 'query-trian': did you mean 'query-train'"):
        read_scores(tmp_path / "a.npy", "query-trian", run.digest)
    other = read_scores(tmp_path / "a.npy", "query-train", run.digest).values
    with pytest.raises(
        sr.SamattrError, match=r"are of 7 training points and 60 queries, not of 60 .*: say the other lay"
    ):
        baselines.validate_scores(other, run.workload)
    square = run.workload.override(n_query=60)  # the one case that nobody can notice
    found, turned = (
        baselines.validate_scores(s, square).per_query for s in (torch.eye(60).cumsum(1), torch.eye(60).cumsum(0))
    )
    assert found != turned


@dataclass(frozen=True)
class OtherQueries:
    """The digits with others of the held-out points for queries."""

    data: sr.Digits

    def load(self, seed):
        splits = self.data.load(seed)
        return replace(splits, queries=splits.validation.take(slice(7)), validation=splits.queries)


def test_scores_of_another_run_or_of_other_queries_are_refused(run, scores, tmp_path):
    other = replace(run.workload, data=OtherQueries(run.workload.data))
    assert sr.train(other).digest == run.digest
    for workload, said in ((replace(run.workload, seed=1), "of run"), (other, "of queries")):
        with pytest.raises(
            sr.SamattrError, match=f"the scores are {said} .*: name the seed and settings of the export"
        ):
            baselines.validate_scores(scores, workload, made_for=identity(run))
    assert baselines.validate_scores(scores, other, made_for={"run": run.digest}).n_query == 7
    assert baselines.validate_scores(scores, small(**NOISY), seed=0, made_for=identity(run)).n_query == 7


def test_which_run_is_said_by_the_file_a_digest_or_the_exported_description(run, scores, tmp_path):
    array, said = scores.numpy(), str(baselines.export(run, tmp_path / "out"))
    np.save(tmp_path / "a.npy", array)
    write_scores(tmp_path / "a.safetensors", array, [], identity(run))
    assert read_scores(tmp_path / "a.npy", "train-query", said).made_for == identity(run)
    assert read_scores(tmp_path / "a.safetensors", "train-query", run.digest).made_for == identity(run)
    for given, expected in (
        (None, "a.npy does not say which run it is of: give its digest, or the exported run.json, by --run"),
        ("0123", "takes the digest of a run, 64 hexadecimal digits, or the path of an exported run.json, not '0123'"),
        (str(tmp_path), "or the path of an exported run.json, not"),
        (str(tmp_path / "a.npy"), "or the path of an exported run.json, not"),
        ("x" * 5000, "or the path of an exported run.json, not"),
    ):
        with pytest.raises(sr.SamattrError, match=expected):
            read_scores(tmp_path / "a.npy", "train-query", given)
    with pytest.raises(sr.SamattrError, match=f"is of run {run.digest}, and --run names {RUN}: leave out --run"):
        read_scores(tmp_path / "a.safetensors", "train-query", RUN)


def test_what_can_be_told_without_training_is_told_before_it(monkeypatch, scores):
    monkeypatch.setattr(others_scores, "train", lambda workload: pytest.fail("trained"))
    for values, more, said in (
        (scores[1:], {}, "59 training points and 7 queries, not of 60 training points and 7 queries: name the seed"),
        (scores[:, 1:], {}, "60 training points and 6 queries"),
        (scores * float("nan"), {}, "NaN or infinity in 420 of 420 scores"),
        ([[1.0], [2.0, 3.0]], {}, "must be an array of numbers"),
        ("many", {}, "must be real numbers"),
        (scores.to_sparse(), {}, "must be a dense tensor"),
        (scores, {"seconds": -1.0}, "seconds must be a finite number >= 0, not -1.0"),
        (scores, {"seconds": float("inf")}, "seconds must be a finite number"),
    ):
        with pytest.raises(sr.SamattrError, match=said):
            baselines.validate_scores(values, small(**NOISY), **more)


def test_a_table_leaves_out_what_is_not_known(run, scores):
    result = baselines.validate_scores(scores, run.workload)
    assert set(Results(PROFILES["quick"], [result], []).tidy()["metric"]).isdisjoint(
        {"noise_auc", "noise_ap", "runtime_s", "peak_memory_bytes"}
    )
