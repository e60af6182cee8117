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

from samattr_ref.support.errors import SamattrError, first_line

File = Path | zipfile.Path
"""A file in a folder or in a zip file."""


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


def image_tree(name: str, parts: tuple[str, ...], suffixes: tuple[str, ...]) -> list[list[tuple[File, str]]] | None:
    """The files of each part of the image tree `NAME/PART/CLASS/FILE` in the data folder, or None if it is absent.

    They are read where they are: in the folder, or else in `NAME.zip`, which is not unpacked.

    Raises:
        SamattrError: if the zip file is damaged or holds something else.
    """
    root = data_folder()
    if (root / name / parts[0]).is_dir():
        return [list(class_files(root / name / part, suffixes)) for part in parts]
    archive = root / f"{name}.zip"
    if not archive.is_file():
        return None
    try:
        zipped = zipfile.ZipFile(archive)
    except (zipfile.BadZipFile, OSError) as error:
        raise SamattrError(f"{archive} could not be read ({first_line(error)}): fetch it again") from error
    return [_zipped_files(zipped, f"{name}/{part}/", suffixes) for part in parts]


def _zipped_files(archive: zipfile.ZipFile, folder: str, suffixes: tuple[str, ...]) -> list[tuple[File, str]]:
    """The files `CLASS/FILE` of a folder of a zip file with the names of their classes, sorted."""
    files: list[tuple[File, str]] = []
    for entry in sorted(archive.namelist(), key=lambda entry: entry.split("/")):
        class_name, _, file = entry.removeprefix(folder).partition("/")
        hidden = class_name.startswith(".") or file.startswith(".")
        if entry.startswith(folder) and not hidden and "/" not in file and file.lower().endswith(suffixes):
            files.append((zipfile.Path(archive, entry), class_name))
    return files


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
