"""Damaged files of every kind: each is noticed, in one line, or is not damaged at all."""

import io
import random
import time
import traceback
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

import baselines
import samattr_ref as sr
from baselines.leaderboard.entry import ROWS
from baselines.leaderboard.row import read_row
from baselines.score_files import read_scores
from samattr_ref.support import store, upkeep
from samattr_ref.support.errors import SamattrError
from tests.conftest import small

HANG_SECONDS = 10.0


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The bytes with something done to them that happens to files, or that somebody does."""
    found, place = bytearray(data), rng.randrange(max(1, len(data)))
    what = rng.randrange(8)
    if what == 0:
        return bytes(found[:place])
    if what == 1:
        found[place : place + 1] = bytes([found[place] ^ (1 << rng.randrange(8))]) if found else b"\1"
    elif what == 2:
        found[place:place] = rng.randbytes(rng.randrange(1, 64))
    elif what == 3:
        del found[place : place + rng.randrange(1, 64)]
    elif what == 4:
        length = min(rng.randrange(1, 4096), len(found) - place)
        found[place : place + length] = bytes(length)
    elif what == 5:
        other = rng.randrange(max(1, len(data)))
        found[place : place + 16] = found[other : other + 16]
    elif what == 6:
        return rng.randbytes(rng.randrange(0, 2048))
    else:  # a digit is another one
        digits = [i for i, byte in enumerate(found) if 48 <= byte <= 57]
        if digits:
            found[rng.choice(digits)] = rng.choice(b"0123456789")
    return bytes(found)


def samples(folder: Path):
    """Files of every kind: a path, what reads it, and what that gives while it is whole."""
    run = sr.train(small())
    baselines.leave_one_out(run)
    baselines.validate("tracin-cp", small())
    for artefact in list(upkeep.artefacts()):
        for ending in ("json", "safetensors"):
            path = artefact.path / f"{artefact.name}.{ending}"
            if path.exists():
                yield path, lambda _, artefact=artefact: store.load(artefact.path, artefact.name)
    rows = folder / "rows" / "digits-mlp"
    rows.mkdir(parents=True)
    for row in sorted((ROWS / "digits-mlp").glob("*.json"))[:3]:
        (rows / row.name).write_bytes(row.read_bytes())
        yield rows / row.name, read_row
    values = torch.randn(run.n_train, 7, dtype=torch.float64)
    buffer = io.BytesIO()
    np.save(buffer, values.numpy())
    (folder / "scores.npy").write_bytes(buffer.getvalue())
    save_file({"scores": values}, folder / "scores.safetensors")
    pd.DataFrame(values.numpy(), columns=[str(i) for i in range(7)]).to_parquet(folder / "scores.parquet")
    for ending in ("npy", "safetensors", "parquet"):
        yield folder / f"scores.{ending}", lambda path: read_scores(path, "train-query", run.digest)
    upkeep.export_store(folder / "all.tar")
    yield folder / "all.tar", upkeep.import_store


def same(one, other) -> bool:
    """Whether two things that were read are the same."""
    return repr(one) == repr(other)


def campaign(count: int, folder: Path, monkeypatch, seed: int = 0) -> dict:
    """Damage files and read them, `count` times.

    Returns:
        How often damage was refused, harmless, or read as something else: of artefacts of the store that is a fault.

    Raises:
        AssertionError: for a traceback, more than one line, a hang, or an artefact that is served damaged.
    """
    monkeypatch.setenv("SAMATTR_STORE", str(folder / "store"))
    rng, seen = random.Random(seed), Counter()
    torch.set_printoptions(profile="full")
    files = list(samples(folder))
    whole = [(path.read_bytes(), read(path)) for path, read in files]
    for i in range(count):
        place = i % len(files)
        (path, read), (data, before) = files[place], whole[place]
        content = damaged(data, rng)
        path.write_bytes(content)
        if path.name == "all.tar":
            monkeypatch.setenv("SAMATTR_STORE", str(folder / f"imported-{i}"))
        began = time.monotonic()
        try:
            found = read(path)
        except SamattrError as error:
            assert "\n" not in str(error), str(error)
            seen["refused"] += 1
        except Exception as error:
            raise AssertionError(f"{path.name} ({i}): {traceback.format_exc()}") from error
        else:
            of_store = "store" in path.parts and path.name != "all.tar"
            alike = content == data or (same(found, before) and not of_store)
            assert alike or not of_store, f"{path} ({i}) is served damaged"
            seen["harmless" if alike else "read as something else"] += 1
        assert time.monotonic() - began < HANG_SECONDS, path
        path.write_bytes(data)
        monkeypatch.setenv("SAMATTR_STORE", str(folder / "store"))
    return {"files": count, **dict(seen)}


def swapped(folder: Path, monkeypatch) -> dict:
    """Put every artefact of a store in the place of every other of its kind of file: none is served."""
    monkeypatch.setenv("SAMATTR_STORE", str(folder / "store"))
    files = {path: read for path, read in samples(folder) if "store" in path.parts}
    contents, count = {path: path.read_bytes() for path in files}, 0
    for path, read in files.items():
        for other, content in contents.items():
            if other.suffix == path.suffix and content != contents[path]:
                path.write_bytes(content)
                try:
                    read(path)
                except SamattrError:
                    count += 1
                else:
                    raise AssertionError(f"{other} is served as {path}")
        path.write_bytes(contents[path])
    return {"swaps": count, "served": 0}
