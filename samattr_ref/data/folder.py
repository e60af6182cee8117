"""The data folder: where it is, and how torchvision's data sets, image trees, tables and class folders there are read.

No pickle is ever opened but torchvision's own CIFAR files, and those only after their checksums have matched.
"""

import csv
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs

from samattr_ref.support import store
from samattr_ref.support.errors import SamattrError


def data_folder() -> Path:
    """The folder of data sets: `SAMATTR_DATA`, or `data` in the user's cache folder.

    Raises:
        SamattrError: if `SAMATTR_DATA` names a folder that does not exist.
    """
    named = os.environ.get("SAMATTR_DATA")
    if not named:
        return platformdirs.user_cache_path("samattr") / "data"
    if not Path(named).is_dir():
        raise SamattrError(f"SAMATTR_DATA names {named}, which is not a folder: make it, or unset SAMATTR_DATA")
    return Path(named)


def open_torchvision(dataset: Callable[..., Any]) -> Any:
    """A torchvision data set from the data folder; downloaded only into the default one, which is ours to fill.

    Raises:
        SamattrError: if it is missing, or a file of it does not have torchvision's checksum.
    """
    root, download = data_folder(), not os.environ.get("SAMATTR_DATA")
    try:
        return dataset(str(root), download=download)
    except (RuntimeError, OSError, ValueError) as error:
        advice = (
            "check the network, or put the files there yourself"
            if download
            else "put it there, or unset SAMATTR_DATA to have it downloaded into the cache folder"
        )
        reason = first_line(error).removesuffix(" You can use download=True to download it")
        raise SamattrError(f"the data set could not be read from {root} ({reason}): {advice}") from error


def image_folder(name: str) -> Path | None:
    """The image tree of that name in the data folder, unpacked from its zip file where need be; None if absent.

    Raises:
        SamattrError: if the zip file is damaged or holds something else.
    """
    root = data_folder()
    if (root / name / "train").is_dir():
        return root / name
    archive = root / f"{name}.zip"
    if not archive.is_file():
        return None
    unpacked = store.root() / "data" / name
    if not unpacked.is_dir():
        with store.lock(unpacked):
            if not unpacked.is_dir():
                _unpack(archive, unpacked)
    return unpacked


def _unpack(archive: Path, target: Path) -> None:
    """Unpack the folder of the target's name, which exists only once it is whole."""
    unfinished = target.with_name(f"{target.name}.partial")
    try:
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(unfinished)
        (unfinished / target.name).rename(target)
        unfinished.rmdir()
    except (zipfile.BadZipFile, OSError) as error:
        raise SamattrError(
            f"{archive} could not be unpacked into {target} ({first_line(error)}): fetch it again, or free some space"
        ) from error


def class_files(folder: Path, suffixes: tuple[str, ...] = ()) -> list[tuple[Path, str]]:
    """The files `CLASS/FILE` of a tree with the names of their classes, sorted; hidden ones are left out.

    Args:
        folder: The tree.
        suffixes: Endings that count, in lower case; all of them where it is empty.
    """
    classes = sorted(part for part in folder.glob("[!.]*") if part.is_dir())
    return [
        (file, part.name)
        for part in classes
        for file in sorted(part.glob("[!.]*"))
        if (file.suffix.lower() in suffixes if suffixes else file.is_file())
    ]


def read_table(path: Path, columns: list[str]) -> list[dict[str, str]]:
    """The rows of a CSV file that has those columns among its own.

    Raises:
        SamattrError: if it cannot be read, lacks a column or has no rows.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, header = list(reader), reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SamattrError(f"{path} could not be read ({first_line(error)}): fetch it again") from error
    missing = [name for name in columns if name not in header]
    if missing:
        raise SamattrError(f"{path} has no column {' or '.join(missing)}: its first line must be {','.join(columns)}")
    short = next((number for number, row in enumerate(rows, 2) if None in [row[name] for name in columns]), None)
    if not rows or short is not None:
        where = "no rows" if short is None else f"too few columns in row {short}"
        raise SamattrError(f"{path} has {where}: fetch it again")
    return rows


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its name where it has none."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
