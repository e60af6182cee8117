"""A user's own code, named on the command line: `package.module:attribute` or `path/to/file.py:attribute`."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from samattr_ref.support.errors import SamattrError
from samattr_ref.support.foreign import foreign

_loaded: dict[str, ModuleType] = {}


def load_reference(reference: str) -> Any:
    """The object that the reference names. Modules are looked for in the working directory too.

    Raises:
        SamattrError: if the module, file or attribute does not exist, or importing it fails.
    """
    where, _, attribute = reference.rpartition(":")
    with foreign(f"{where} could not be imported"):
        module = _from_file(Path(where)) if where.endswith(".py") else _from_name(where)
    _loaded[where] = module
    if not hasattr(module, attribute):
        raise SamattrError(f"{where} has no attribute '{attribute}'")
    return getattr(module, attribute)


def _from_name(name: str) -> Any:
    working = str(Path.cwd())
    if working not in sys.path:
        sys.path.insert(0, working)
    return importlib.import_module(name)


def _from_file(path: Path) -> Any:
    name = f"_samattr_user_{path.stem}"  # a file named like a library module must not replace it
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def user_modules() -> list[ModuleType]:
    """The modules that were loaded for references: other machines do not have them."""
    return list(_loaded.values())
