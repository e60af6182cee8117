"""Which code runs, and which code a key holds."""

import shutil
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import samattr_ref
from samattr_ref.support import fingerprint, source
from samattr_ref.support.registered import OWN, is_own
from samattr_ref.support.source import Source

ROOT = Path(samattr_ref.__file__).parents[1]


@contextmanager
def executed(entry=None):
    """The modules of the project of which a function runs within the block, or within a function of that name in it."""
    seen, inside = set(), []

    def trace(frame, event, _argument):
        name = frame.f_globals.get("__name__", "")
        if entry == f"{name}:{frame.f_code.co_name}":
            inside.append(frame)
            return leave
        if (inside or entry is None) and is_own(name) and frame.f_code.co_name != "<module>":
            seen.add(name)
        return None

    def leave(_frame, event, _argument):
        if event == "return":
            inside.pop()
        return leave

    before = sys.gettrace()
    threading.settrace(trace)
    sys.settrace(trace)
    try:
        yield seen
    finally:
        sys.settrace(before)
        threading.settrace(before)


def forget():
    """Have the next key read the source again."""
    source.reach.cache_clear()
    fingerprint._release.cache_clear()


def held(compute, monkeypatch):
    """The modules of the project that the keys hold which a call computes."""
    found, plain = set(), Source.reach

    def noted(self, *entries):
        reached = plain(self, *entries)
        found.update(reached.modules)
        return reached

    with monkeypatch.context() as patch:
        patch.setattr(Source, "reach", noted)
        forget()
        compute()
    return found


def copy_of_the_project(folder, edit=None):
    """A copy of the packages with each module's text as `edit(path, text)` makes it."""
    for package in OWN:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("reference", "__pycache__"))
    for path in folder.rglob("*.py"):
        text = path.read_text()
        path.write_text(edit(path.relative_to(folder).as_posix(), text))
    return folder
