"""Artefacts on disk: tensors as safetensors, the rest as JSON, written whole or not at all and checked when read.

An artefact is a pair `NAME.safetensors` and `NAME.json` in a folder named for the hash of all that it depends on. Each
file is written to a temporary name, flushed and renamed; the JSON comes last and holds the SHA-256 of the tensors, so
an artefact exists exactly when its JSON does. Nothing is ever executed from a file.
"""

import atexit
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import platformdirs
import safetensors.torch
from filelock import FileLock
from torch import Tensor

from samattr_ref.support.errors import StoreError
from samattr_ref.support.seeds import UNKEYED

UNFINISHED = ".unfinished-"
"""How the name of a file begins that is still being written."""


def root() -> Path:
    """The store: `SAMATTR_STORE`, or `store` in the user's cache folder."""
    named = os.environ.get("SAMATTR_STORE")
    return Path(named) if named else platformdirs.user_cache_path("samattr") / "store"


def folder(kind: str, key: str) -> Path:
    """The folder of one artefact, for example `runs/3f2a…`; of what cannot be keyed, one that ends with the process."""
    return (_passing() if key.startswith(UNKEYED) else root()) / kind / key


@cache
def _passing() -> Path:
    path = Path(tempfile.mkdtemp(prefix="samattr-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold an artefact's folder: one process makes it, the others wait. Freed by the system if its holder dies.

    What a killed process left half-written is removed.

    Raises:
        StoreError: if the store cannot be written.
    """
    _make(path.parent)
    held = FileLock(path.with_name(path.name + ".lock"))
    try:
        held.acquire()
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        for unfinished in path.glob(f"{UNFINISHED}*"):
            unfinished.unlink(missing_ok=True)
        yield
    finally:
        held.release()


def save(path: Path, name: str, meta: dict[str, Any], tensors: dict[str, Tensor] | None = None) -> None:
    """Write an artefact, replacing one of that name.

    Raises:
        StoreError: if the disk is full or may not be written to; what was there before is untouched.
    """
    _make(path)
    content = dict(meta)
    if tensors is not None:
        contiguous = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
        data = safetensors.torch.save(contiguous)
        content["sha256"] = hashlib.sha256(data).hexdigest()
        _replace(path / f"{name}.safetensors", data)
    _replace(path / f"{name}.json", json.dumps(content, indent=1).encode())


def load(path: Path, name: str) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Read an artefact's JSON and tensors; None if it does not exist.

    Raises:
        StoreError: if it is damaged.
    """
    described = path / f"{name}.json"
    if not described.exists():
        return None
    try:
        meta = json.loads(described.read_bytes())
        if "sha256" not in meta:
            return meta, {}
        data = (path / f"{name}.safetensors").read_bytes()
    except (ValueError, OSError) as error:
        raise _damaged(path, name) from error
    if hashlib.sha256(data).hexdigest() != meta["sha256"]:
        raise _damaged(path, name)
    return meta, safetensors.torch.load(data)


def read(path: Path, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read an artefact that must be there.

    Raises:
        StoreError: if it is missing or damaged.
    """
    found = load(path, name)
    if found is None:
        raise _damaged(path, name)
    return found


def delete(path: Path, name: str) -> None:
    """Remove an artefact: its JSON first, so that it is gone at once."""
    for ending in ("json", "safetensors"):
        (path / f"{name}.{ending}").unlink(missing_ok=True)


def _damaged(path: Path, name: str) -> StoreError:
    return StoreError(f"the artefact {path / name} is damaged: delete the folder {path} and run the command again")


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> StoreError:
    return StoreError(f"{path} cannot be written ({error.strerror}): set SAMATTR_STORE to a writable folder")


def replace_file(target: Path, data: bytes) -> None:
    """Write a file whole or not at all, in place of one of its name.

    Raises:
        StoreError: if the disk is full or may not be written to; what was there before is untouched.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{target} could not be written ({error.strerror}): choose another folder") from error
    _replace(target, data)


def _replace(target: Path, data: bytes) -> None:
    temporary = target.with_name(f"{UNFINISHED}{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(
            f"{target} could not be written ({error.strerror}): free some space and run it again"
        ) from error
