"""Artefacts on disk: tensors as safetensors, the rest as JSON, written whole or not at all and checked when read.

An artefact is a pair `NAME.safetensors` and `NAME.json` in a folder named for the hash of all that it depends on. Each
file is written to a temporary name, flushed to the disk and renamed; the JSON comes last, so an artefact exists exactly
when its JSON does. The JSON begins with the SHA-256 of all that follows in it: the format, the key that it answers to,
the SHA-256 of the tensors, the content. All of it is checked when it is read, so that what is damaged, or stands where
another belongs, is never served. Nothing is ever executed from a file.

Writers need no lock to be safe: a file appears whole, and two that write one key write the same. Locks save the work
of doing it twice, see `lock`.
"""

import atexit
import hashlib
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
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

FORMAT = 2
"""Of the JSON of an artefact."""

FAILURE = "failure"
"""What a failure is recorded as, in the folder of what was not made; gone once it is."""

SEAL = re.compile(rb'\{"sha256": "([0-9a-f]{64})", ')
"""How that JSON begins: with the hash of what follows."""


@dataclass(frozen=True)
class Described:
    """What the JSON of an artefact says.

    Attributes:
        key: What it answers to: `KIND/HASH/NAME` in the store, elsewhere its name.
        tensors: SHA-256 of its tensors' file; None where it has none.
        content: What was saved.
    """

    key: str
    tensors: str | None
    content: dict[str, Any]


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

    The lock is `flock` on a file beside the folder, on network file systems too; where a file system has none, it is a
    file that holds its owner's host and process. What a killed process left half-written is removed; who writes there
    without the lock writes again what was taken for that.

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
    digest = None
    if tensors is not None:
        contiguous = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
        data = safetensors.torch.save(contiguous)
        digest = hashlib.sha256(data).hexdigest()
        _replace(path / f"{name}.safetensors", data)
    described = {"format": FORMAT, "key": _key(path, name), "tensors": digest, "content": meta}
    rest = json.dumps(described, indent=1).encode()[1:].lstrip()
    _replace(path / f"{name}.json", b'{"sha256": "' + hashlib.sha256(rest).hexdigest().encode() + b'", ' + rest)
    if name != FAILURE and exists(path, FAILURE):
        delete(path, FAILURE)


def load(path: Path, name: str, top: Path | None = None) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Read an artefact's content and tensors; None if it does not exist.

    Args:
        path: Its folder.
        name: Its name.
        top: The folder of the store that it is in, where that is another one.

    Raises:
        StoreError: if it is damaged, stands where another belongs, or is of another format.
    """
    described = describe(path, name, top)
    if described is None:
        return None
    if described.tensors is None:
        return described.content, {}
    try:
        data = (path / f"{name}.safetensors").read_bytes()
    except OSError as error:
        raise _damaged(path, name, "its tensors cannot be read") from error
    if hashlib.sha256(data).hexdigest() != described.tensors:
        raise _damaged(path, name, "its tensors are not those that were written")
    return described.content, safetensors.torch.load(data)


def describe(path: Path, name: str, top: Path | None = None) -> Described | None:
    """Read what an artefact's JSON says, without its tensors; None if it does not exist. See `load`.

    Raises:
        StoreError: if it is damaged, stands where another belongs, or is of another format.
    """
    try:
        data = (path / f"{name}.json").read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _damaged(path, name, "it cannot be read") from error
    begins = SEAL.match(data)
    if begins is None:
        old = b'"format"' not in data
        why = f"an earlier version of samattr wrote it, or it is cut off: this one reads format {FORMAT}"
        raise _damaged(path, name, why if old else "its beginning is not what was written")
    rest = data[begins.end() :]
    if hashlib.sha256(rest).hexdigest().encode() != begins[1]:
        raise _damaged(path, name, "it is not what was written")
    said = json.loads(b"{" + rest)
    if said["format"] != FORMAT:
        raise _damaged(path, name, f"it is of format {said['format']}, and this version of samattr reads {FORMAT}")
    if said["key"] != _key(path, name, top):
        raise _damaged(path, name, f"it is that of {said['key']}")
    return Described(said["key"], said["tensors"], said["content"])


def exists(path: Path, name: str) -> bool:
    """Whether there is an artefact of that name; it is not read."""
    return (path / f"{name}.json").exists()


def read(path: Path, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read an artefact that must be there.

    Raises:
        StoreError: if it is missing or damaged.
    """
    found = load(path, name)
    if found is None:
        raise _damaged(path, name, "it is gone")
    return found


def record_failure(path: Path, what: str, reason: str) -> None:
    """Write down why an artefact could not be made, for people to read: it is tried again whenever it is asked for.

    Args:
        path: The artefact's folder.
        what: What was to be made, in a few words.
        reason: Why it was not, in one line.
    """
    save(path, FAILURE, {"what": what, "reason": reason, "at": datetime.now(UTC).isoformat(timespec="seconds")})


def delete(path: Path, name: str) -> None:
    """Remove an artefact: its JSON first, so that it is gone at once."""
    for ending in ("json", "safetensors"):
        (path / f"{name}.{ending}").unlink(missing_ok=True)


def _key(path: Path, name: str, top: Path | None = None) -> str:
    """What an artefact answers to: its place in the store; outside of it, where a folder may be moved, its name."""
    top = top or root()
    return (path.relative_to(top) / name).as_posix() if path.is_relative_to(top) else name


def _damaged(path: Path, name: str, why: str) -> StoreError:
    return StoreError(
        f"the artefact {path / name} is damaged: {why}; delete the folder {path} and run the command again"
    )


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
    try:
        while not _written(target, data):
            pass
    except OSError as error:
        raise StoreError(
            f"{target} could not be written ({error.strerror}): free some space and run it again"
        ) from error


def _written(target: Path, data: bytes) -> bool:
    """Write a file; whether it is there: a process that takes the lock removes it once, half-written, as if left."""
    temporary = target.with_name(f"{UNFINISHED}{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        _sync(target.parent)
    except FileNotFoundError:
        if not target.parent.exists():
            raise
        return False
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return True


def _sync(path: Path) -> None:
    """Flush a folder's names to the disk, where the system can: a renamed file is found again after a power cut."""
    if os.name == "posix":
        opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
