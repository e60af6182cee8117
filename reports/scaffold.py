"""A new method's first files: one that works, says what a method owes, and a test that holds it to that."""

import importlib.util
import keyword
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import jinja2

from samattr_ref.registry import methods
from samattr_ref.support.errors import SamattrError


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        method: The method's file.
        test: Its test's file.
        command: The command that checks it.
    """

    method: Path
    test: Path
    command: str


def new_method(name: str, folder: Path) -> Written:
    """Write `NAME.py`, a method of that name, and `test_NAME.py`; hyphens are underscores there. No file is replaced.

    Args:
        name: The method's name.
        folder: Where to write; made if absent.

    Raises:
        SamattrError: for a name that a method or a module cannot have or has, a file that is there, or a folder that
            cannot be written.
    """
    function = name.replace("-", "_")
    _check_name(name, function)
    path, test = folder / f"{function}.py", folder / f"test_{function}.py"
    for file in (path, test):
        if file.exists():
            raise SamattrError(f"{file} is there already, and is not replaced: choose another name or folder")
    if importlib.util.find_spec(function) is not None:
        raise SamattrError(f"'{function}' is the name of a Python module that is there already: choose another name")
    written = Written(path, test, f"samattr check {path}:{function}")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports"), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as unfinished:
            for template, file in (("method", path), ("test_method", test)):
                text = environment.get_template(f"{template}.py.j2").render(name=name, function=function)
                Path(unfinished, file.name).write_text(text, encoding="utf-8")
            for file in (path, test):
                Path(unfinished, file.name).rename(file)
    except OSError as error:
        raise SamattrError(
            f"{folder} could not be written ({error.strerror}): choose another folder with --out"
        ) from error
    return written


def _check_name(name: str, function: str) -> None:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) or keyword.iskeyword(function):
        raise SamattrError(
            f"'{name}' cannot be a method's name: take a letter, then letters, digits, hyphens and underscores, and "
            "no keyword of Python"
        )
    if name in methods(optional=True):
        raise SamattrError(f"there is a method '{name}' already: choose another name")
