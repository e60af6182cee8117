"""Score files: what another program says of a run, read without executing anything from them.

Three kinds of files hold scores, told apart by their ending:

1. `.npy`: one array. It cannot say which run it is of.
2. `.safetensors`: the tensor `scores`, or the only tensor there is; beside it perhaps `validation` [n_train], the
   Influence Score on the validation set of every training point.
3. `.parquet`, wide: the columns `0`, `1`, … of a matrix, whose rows are rows; or long: the columns `train`, `query` and
   `score`, one row a pair, in any order.

Which axis of an array is which is said by a layout, never guessed. The long form names both by itself. The metadata of
safetensors and the schema metadata of Parquet say under `run` which run the scores are of, and perhaps under `queries`
of which queries.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import safe_open
from torch import Tensor

from samattr_ref.run import Run
from samattr_ref.support.errors import SamattrError, first_line, unknown_name
from samattr_ref.support.seeds import tensor_digest

LAYOUTS = ("train-query", "query-train")
"""What the rows and columns of scores are: [n_train, n_query] or [n_query, n_train]."""

IDENTITY = ("run", "queries")
"""What scores say they are of: digests of `identity`."""

LONG = ("train", "query", "score")
"""The columns of a Parquet file with one row a pair."""

Found = tuple[Any, Any, Mapping[str, str], bool]
"""Scores, Influence Scores or None, metadata, and whether the file itself says which axis is which."""


@dataclass(frozen=True, eq=False)
class ScoreFile:
    """What a score file holds.

    Attributes:
        values: The scores, float64 [n_train, n_query].
        validation: The Influence Scores on the validation set, float64 [n_train]; None where it has none.
        made_for: What it is of, see `identity`: `run`, and `queries` where they are said.
    """

    values: Tensor
    validation: Tensor | None
    made_for: dict[str, str]


def identity(run: Run) -> dict[str, str]:
    """What scores of a run are of: the digests of the `run` and of its own `queries`, in hexadecimal."""
    queries = run.workload.queries
    return {"run": run.digest, "queries": tensor_digest(queries.x, queries.y)}


def read_scores(path: Path | str, layout: str, run: str | None = None) -> ScoreFile:
    """Read scores that another program made.

    Args:
        path: The file.
        layout: One of `LAYOUTS`; without effect on a Parquet file that names point and query of each score.
        run: The digest of the run that they are of, or the path of an exported `run.json`; not needed where the file
            says it.

    Raises:
        SamattrError: for an unknown layout or ending, a file that is missing or damaged, that has something else in it
            than real finite numbers in the shape of scores, or that does not say what it is of.
    """
    if layout not in LAYOUTS:
        raise unknown_name("layout", layout, LAYOUTS)
    path = Path(path)
    if path.suffix.lower() not in READERS:
        raise unknown_name("kind of score file", path.suffix, READERS)
    given = {} if run is None else read_identity(run)
    if not path.is_file():
        raise SamattrError(f"there is no file {path}")
    try:
        values, validation, metadata, named = READERS[path.suffix.lower()](path)
    except SamattrError:
        raise
    except Exception as error:  # whatever a damaged file makes its reader raise
        raise SamattrError(f"{path} cannot be read ({first_line(error)}): write it again") from error
    said = {name: metadata[name] for name in IDENTITY if name in metadata}
    for name in said.keys() & given.keys():
        if said[name] != given[name]:
            raise SamattrError(f"{path} is of {name} {said[name]}, and --run names {given[name]}: leave out --run")
    if "run" not in said | given:
        raise SamattrError(
            f"{path} does not say which run it is of: give its digest, or the exported run.json, by --run"
        )
    scores = checked_scores(values, 2)
    return ScoreFile(
        values=scores.T if layout == "query-train" and not named else scores,
        validation=None if validation is None else checked_scores(validation, 1),
        made_for=said | given,
    )


def read_identity(text: str) -> dict[str, str]:
    """What a digest, or an exported `run.json` by its path, says that scores are of.

    Raises:
        SamattrError: if it is neither.
    """
    if re.fullmatch("[0-9a-f]{64}", text):
        return {"run": text}
    try:
        found = json.loads(Path(text).read_bytes())
        return {name: str(found[name]) for name in IDENTITY}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SamattrError(
            f"--run takes the digest of a run, 64 hexadecimal digits, or the path of an exported run.json, not '{text}'"
        ) from error


def checked_scores(values: Any, ndim: int) -> Tensor:
    """Scores [n_train, n_query], or with one dimension Influence Scores [n_train], as float64 on the CPU.

    Raises:
        SamattrError: for other dimensions, and what is not real and finite.
    """
    what = "scores" if ndim == 2 else "scores on the validation set"
    try:
        found = values.detach() if isinstance(values, Tensor) else np.asarray(values)
    except Exception as error:  # whatever objects that are no numbers raise
        raise SamattrError(f"{what} must be an array of numbers: {first_line(error)}") from error
    if isinstance(found, np.ndarray):
        if found.dtype.kind not in "fiu":
            raise SamattrError(f"{what} must be real numbers, not {found.dtype}")
        with np.errstate(over="ignore"):  # what float64 cannot hold becomes infinite, and is refused as that
            found = torch.from_numpy(found.astype(np.float64))
    elif found.layout != torch.strided or found.is_complex() or found.dtype == torch.bool:
        raise SamattrError(f"{what} must be a dense tensor of real numbers, not {found.layout} of {found.dtype}")
    if found.ndim != ndim:
        shape = "[n_train, n_query]" if ndim == 2 else "[n_train]"
        raise SamattrError(f"{what} must be {shape}, not of shape {list(found.shape)}")
    found = found.cpu().double()
    if bad := int((~found.isfinite()).sum()):
        raise SamattrError(f"NaN or infinity in {bad} of {found.numel()} {what}: make each a finite number")
    return found


def _read_npy(path: Path) -> Found:
    with path.open("rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False), None, {}, False


def _read_safetensors(path: Path) -> Found:
    with safe_open(path, framework="pt") as file:
        names = sorted(file.keys())
        if "scores" not in names and len(names) != 1:
            raise SamattrError(f"{path} holds {_listed(names)}: name the tensor of the scores 'scores'")
        name = "scores" if "scores" in names else names[0]
        validation = file.get_tensor("validation") if "validation" in names and name == "scores" else None
        return file.get_tensor(name), validation, file.metadata() or {}, False


def _read_parquet(path: Path) -> Found:
    with pq.ParquetFile(path) as file:
        table = file.read()
    metadata = {key.decode(): value.decode(errors="replace") for key, value in (table.schema.metadata or {}).items()}
    names = table.column_names
    if sorted(names) == sorted(LONG):
        return _from_pairs(*(_numbers(table, name) for name in LONG)), None, metadata, True
    if names and sorted(names) == sorted(map(str, range(len(names)))):
        columns = [_numbers(table, str(column)) for column in range(len(names))]
        return np.stack(columns, axis=1), None, metadata, False
    raise SamattrError(
        f"{path} has the columns {_listed(names)}: give it {', '.join(LONG)}, or one a column of the scores, 0, 1, …"
    )


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    """A column of numbers; null as NaN."""
    column = table[name]
    whole = pa.types.is_integer(column.type)
    if not whole and (name in LONG[:2] or not pa.types.is_floating(column.type)):
        kind = "whole numbers" if name in LONG[:2] else "real numbers"
        raise SamattrError(f"the column {name} must hold {kind}, not {column.type}")
    numbers: np.ndarray = column.to_numpy()
    return numbers


def _from_pairs(train: np.ndarray, query: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Scores [n_train, n_query] from one row a pair.

    Raises:
        SamattrError: if the pairs are not all those of points 0..n−1 and queries 0..m−1, each once.
    """
    n, m = (int(index.max()) + 1 if len(index) and index.min() >= 0 else 0 for index in (train, query))
    values = np.full(n * m if n * m == len(score) else 0, np.nan)
    if len(values):
        pairs = train.astype(np.int64) * m + query.astype(np.int64)
        values[pairs] = score
        if len(np.unique(pairs)) == len(values):
            return values.reshape(n, m)
    raise SamattrError(
        f"{len(score)} rows do not name every pair of a training point and a query once, each counted from 0"
    )


def _listed(names: list[str]) -> str:
    """Names in one line, the first of many.

    >>> _listed(["a", "b"]), _listed([])
    ('a, b', 'nothing')
    """
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "") if names else "nothing"


READERS: dict[str, Callable[[Path], Found]] = {
    ".npy": _read_npy,
    ".safetensors": _read_safetensors,
    ".parquet": _read_parquet,
}
"""What reads a file, by its ending."""
