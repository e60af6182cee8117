"""Looking after the store: what is in it, whether it is whole, what may go, and taking it to another machine."""

import io
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from samattr_ref.support import store
from samattr_ref.support.errors import SamattrError, StoreError

KINDS = ("runs", "truth", "validations", "agreements", "growth", "cells")
"""The folders of the store."""

MEMBER = re.compile(rf"({'|'.join(KINDS)})/[0-9a-f]{{16,64}}/[A-Za-z0-9_=.,-]{{1,120}}\.(json|safetensors)")
"""What a file of an archive may be called: anything else is refused, and so nothing is written outside of the store."""

ABANDONED_SECONDS = 3600.0
"""A file that is still being written is touched more often than that."""


@dataclass(frozen=True)
class Artefact:
    """An artefact in the store.

    Attributes:
        path: Its folder.
        name: Its name there.
        size: Bytes of its files.
        changed: When it was written, in seconds since 1970.
    """

    path: Path
    name: str
    size: int
    changed: float

    @property
    def kind(self) -> str:
        """The kind of artefact: one of `KINDS`."""
        return self.path.parent.name


@dataclass(frozen=True)
class Damage:
    """An artefact that cannot be read.

    Attributes:
        artefact: Which.
        reason: Why, in one line.
    """

    artefact: Artefact
    reason: str


def artefacts(kinds: Iterable[str] = KINDS) -> Iterator[Artefact]:
    """The artefacts of the store, by kind and folder; failures are not among them."""
    for kind in kinds:
        for described in sorted((store.root() / kind).glob("*/*.json")):
            if described.stem != store.FAILURE:
                yield _artefact(described)


def failures() -> Iterator[dict[str, str]]:
    """What could not be made, why and when: `what`, `reason`, `at`; of a record that is damaged, that it is."""
    for described in sorted(store.root().glob(f"*/*/{store.FAILURE}.json")):
        try:
            yield store.read(described.parent, store.FAILURE)[0]
        except StoreError as error:
            yield {"what": "the record of a failure", "reason": str(error), "at": "?"}


def damages(found: Iterable[Artefact]) -> Iterator[Damage]:
    """Those of some artefacts that are damaged, of another format, or stand where another belongs: all of each is read.

    Files of tensors that no artefact has are what an interruption left, and `sweep` removes them.
    """
    for artefact in found:
        try:
            store.load(artefact.path, artefact.name)
        except StoreError as error:
            yield Damage(artefact, str(error))


def sweep(damaged: bool = False) -> list[Path]:
    """Remove what nobody reads: files left half-written, states of finished runs, tensors without their JSON, locks.

    Args:
        damaged: Whether artefacts that cannot be read go too: they are made again when they are asked for.

    Returns:
        The files that were removed.

    Raises:
        StoreError: if one cannot be.
    """
    left = list(store.root().glob(f"{store.UNFINISHED}*"))  # of an import
    half = list(store.root().glob(f"*/*/{store.UNFINISHED}*"))
    half += [path for path in store.root().glob("*/*/*.safetensors") if not path.with_suffix(".json").exists()]
    half = [path for path in half if _free(path.parent.with_name(f"{path.parent.name}.lock"))]
    now = _now()
    for folder in left:
        if _old(folder, now):
            shutil.rmtree(folder, ignore_errors=True)
    gone = [path for path in half if _old(path, now)]
    for run in store.root().glob("runs/*/run.json"):
        gone += run.parent.glob("partial-*")
    if damaged:
        for damage in damages(artefacts()):
            gone += damage.artefact.path.glob(f"{damage.artefact.name}.*")
    gone += [path for path in store.root().glob("*/*.lock") if _free(path)]
    try:
        for path in gone:
            path.unlink(missing_ok=True)
        for folder in (folder for kind in KINDS for folder in (store.root() / kind).glob("*/")):
            if _old(folder, now) and not any(folder.iterdir()):  # a young one may be about to be filled
                folder.rmdir()
    except OSError as error:
        raise StoreError(f"{error.filename} cannot be removed ({error.strerror})") from error
    return gone


def export_store(target: Path, kinds: Iterable[str] = KINDS) -> int:
    """Write the artefacts of the store into a tar archive: all are read and checked before. How many they are.

    Raises:
        SamattrError: if there is none, one is damaged, or the archive cannot be written; nothing is left of it then.
    """
    found = list(artefacts(kinds))
    if not found:
        raise SamattrError(f"there is nothing to export in {store.root()}")
    for damage in damages(found):
        raise SamattrError(f"{damage.reason}; or remove what is damaged with samattr store gc --damaged")
    temporary = target.with_name(f"{store.UNFINISHED}{target.name}")
    try:
        with temporary.open("wb") as file:
            with tarfile.open(fileobj=file, mode="w") as archive:
                for artefact in found:
                    for path in _files(artefact):
                        archive.add(path, path.relative_to(store.root()).as_posix(), recursive=False)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(f"{target} could not be written ({error.strerror}): choose another folder") from error
    return len(found)


def import_store(source: Path) -> tuple[int, int]:
    """Take the artefacts of an archive that `export_store` wrote into the store. How many were new, and how many there.

    Nothing of it is believed: names must be those of artefacts, members plain files of the archive's own size in all,
    and every artefact is unpacked beside the store and checked before the first is moved into it.

    Raises:
        SamattrError: for what is no such archive, or holds something else or something damaged; the store is as it was.
    """
    try:
        size = source.stat().st_size
    except OSError as error:
        raise SamattrError(f"{source} cannot be read ({error.strerror})") from error
    with _folder_of_its_own() as place:
        try:
            with tarfile.open(source, mode="r:") as archive:
                names = _unpacked(archive, Path(place), size, source)
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise SamattrError(f"{source} is no archive that samattr store export wrote: {error}") from error
        except OSError as error:
            raise StoreError(f"{source} could not be unpacked ({error.strerror}): free some space") from error
        described = [Path(place, name) for name in names if name.endswith(".json")]
        for path in described:
            store.load(path.parent, path.stem, top=Path(place))
        fresh = [path for path in described if not (store.root() / path.relative_to(place)).exists()]
        for path in fresh:
            target = store.root() / path.relative_to(place)
            target.parent.mkdir(parents=True, exist_ok=True)
            tensors = path.with_suffix(".safetensors")
            if tensors.exists():
                tensors.replace(target.with_suffix(".safetensors"))
            path.replace(target)
    return len(fresh), len(described) - len(fresh)


@contextmanager
def _folder_of_its_own() -> Iterator[str]:
    """A folder beside the store's own that is gone afterwards."""
    try:
        store.root().mkdir(parents=True, exist_ok=True)
        place = tempfile.mkdtemp(prefix=store.UNFINISHED, dir=store.root())
    except OSError as error:
        raise StoreError(f"{store.root()} cannot be written ({error.strerror})") from error
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _unpacked(archive: tarfile.TarFile, place: Path, size: int, source: Path) -> list[str]:
    names, left = [], size
    for member in archive:
        if not member.isreg() or not MEMBER.fullmatch(member.name):
            raise SamattrError(f"{source} holds {member.name[:80]!r}, which is no artefact: nothing was taken from it")
        left -= member.size
        if left < 0:
            raise SamattrError(f"{source} says that it holds more than its own size: nothing was taken from it")
        content = archive.extractfile(member) or io.BytesIO()
        path = place / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            shutil.copyfileobj(content, file)
        names.append(member.name)
    if not names:
        raise SamattrError(f"{source} holds no artefact")
    return names


def _artefact(described: Path) -> Artefact:
    files = [path.stat() for path in (described, described.with_suffix(".safetensors")) if path.exists()]
    changed = max((file.st_mtime for file in files), default=0.0)
    return Artefact(described.parent, described.stem, sum(file.st_size for file in files), changed)


def _files(artefact: Artefact) -> list[Path]:
    both = [artefact.path / f"{artefact.name}.{ending}" for ending in ("safetensors", "json")]
    return [path for path in both if path.exists()]


def _now() -> float:
    """The time by the clock that dates the store's files, which on a network file system is another machine's."""
    with _folder_of_its_own() as place:
        return Path(place).stat().st_mtime


def _old(path: Path, now: float) -> bool:
    return now - path.stat().st_mtime > ABANDONED_SECONDS


def _free(path: Path) -> bool:
    """Whether nobody holds a lock."""
    if not path.exists():
        return True
    try:
        with FileLock(path, timeout=0):
            return True
    except (Timeout, OSError):
        return False
