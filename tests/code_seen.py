"""Which code runs, and which code a key holds."""

import cProfile
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import torch

import samattr_ref
from samattr_ref.support import fingerprint, source
from samattr_ref.support.registered import OWN, is_own
from samattr_ref.support.source import Source

ROOT = Path(samattr_ref.__file__).parents[1]


@contextmanager
def executed():
    """The modules of the project of which a function runs within the block, on one core so that no thread hides it."""
    seen, profile, cores = set(), cProfile.Profile(builtins=False), torch.get_num_threads()
    torch.set_num_threads(1)
    profile.enable()
    try:
        yield seen
    finally:
        profile.disable()
        torch.set_num_threads(cores)
        modules = {module.__file__: name for name, module in sys.modules.items() if is_own(name)}
        ran = [entry.code for entry in profile.getstats() if not isinstance(entry.code, str)]
        seen.update(modules[c.co_filename] for c in ran if c.co_filename in modules and c.co_name != "<module>")


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
