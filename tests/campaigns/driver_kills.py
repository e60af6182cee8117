"""SIGKILL of the program at random moments: no damaged artefact is ever served, and every run goes on from there."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from samattr_ref.support import upkeep

SMALL = ("--set", "n_train=40", "--set", "steps=40", "--json", "--quiet")
MATRIX = {
    "truth by one": ("truth", "digits-logreg", "--engine", "loop", *SMALL),
    "truth together": ("truth", "digits-mlp", *SMALL),
    "truth of subsets": ("truth", "digits-mlp", "--fraction", "0.1", "--count", "30", "--engine", "batched", *SMALL),
    "validation": ("validate", "sam-if", "--workload", "digits-logreg", *SMALL),
    "kept truth": ("truth", "digits-mlp", "--keep", "kept", *SMALL),
}
"""Commands, and with them every kind of artefact."""

CHANGING = ("seconds", "load", "disturbed", "runtime_s", "peak_memory_bytes", "path", "environment", "retrained")
"""What is said of how it was computed and differs from time to time."""


def started(command: tuple[str, ...], folder: Path) -> subprocess.Popen:
    """A command that works in a folder with a store of its own."""
    (folder / "store").mkdir(parents=True, exist_ok=True)
    given = {**os.environ, "SAMATTR_STORE": str(folder / "store"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "reports.cli", *command],
        cwd=folder,
        env=given | {"PYTHONPATH": str(Path.cwd())},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(command: tuple[str, ...], folder: Path) -> dict:
    """What a command says when it may end, without what changes from time to time."""
    out, err = (process := started(command, folder)).communicate()
    assert process.returncode == 0, err
    found = json.loads(out)
    return {name: value for name, value in found.items() if name not in CHANGING}


def campaign(count: int, folder: Path, monkeypatch, names=tuple(MATRIX), every: int = 8, seed: int = 0) -> dict:
    """Kill commands of the matrix `count` times in all, each again and again in the same store, then let it end.

    Returns:
        How often each was killed while it worked.

    Raises:
        AssertionError: for an artefact that is damaged after a kill, or another result in the end.
    """
    rng, killed = random.Random(seed), Counter()
    undisturbed, seconds = {}, {}
    for name in names:
        began = time.monotonic()
        undisturbed[name] = said(MATRIX[name], folder / "undisturbed" / name)
        seconds[name] = time.monotonic() - began
    while killed.total() < count:
        for name in names:
            place = folder / "killed" / name
            shutil.rmtree(place, ignore_errors=True)
            for _ in range(min(every, count - killed.total())):
                process = started(MATRIX[name], place)
                time.sleep(rng.uniform(0.3, 1.0) * seconds[name])
                process.kill()
                process.communicate()
                killed[name] += process.returncode == -9
                monkeypatch.setenv("SAMATTR_STORE", str(place / "store"))
                damaged = [damage.reason for damage in upkeep.damages(upkeep.artefacts())]
                assert not damaged, damaged
            assert said(MATRIX[name], place) == undisturbed[name], name
            if killed.total() >= count:
                break
    return {"kills": killed.total(), **killed}
