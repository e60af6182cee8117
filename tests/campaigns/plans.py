"""What `samattr plan` says of ground truth, held against making it: each in a process and a store of its own."""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import samattr_ref as sr

MATRIX = {
    "stacked, float64": ("digits-logreg", 12_000),
    "stacked, float32": ("digits-mlp", 4_800),
    "one by one": ("tests.campaigns.plans:cnn", 400),
}
"""Workloads, and the steps with which their truths take about a minute of a core."""


def cnn() -> sr.Workload:
    """A network whose retrainings run one by one on a CPU."""
    recipe = sr.SamRecipe(learning_rate=0.3)
    return sr.Workload("digits-cnn", sr.Digits(n_train=400), sr.CNN((4, 8)), recipe, n_removed=100)


def command(folder: Path, *words: str) -> tuple[dict, float, float]:
    """What a command says, its wall-clock seconds, and those that it computed."""
    given = {**os.environ, "SAMATTR_STORE": str(folder), "OMP_NUM_THREADS": "1"}
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    call = [sys.executable, "-m", "reports.cli", *words, "--json", "--quiet"]
    done = subprocess.run(call, env=given, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    computed = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(done.stdout), time.monotonic() - began, computed


def tensor_bytes(folder: Path) -> int:
    """Bytes of all tensors in a store: of each file, all but its header."""
    total = 0
    for path in folder.rglob("*.safetensors"):
        with path.open("rb") as file:
            total += path.stat().st_size - 8 - int.from_bytes(file.read(8), "little")
    return total


def campaign(share: float, folder: Path) -> dict[str, dict]:
    """Plan and make the truths of the matrix.

    Args:
        share: Of the steps of each.
        folder: Where stores are made.

    Returns:
        By name: seconds of a core, planned and taken, and how far apart they are; the same of the wall clock and of
        bytes; what other programs took of the processor while it was planned.
    """
    found: dict[str, dict] = {}
    for number, (name, (workload, steps)) in enumerate(MATRIX.items()):
        store = folder / str(number)
        words = ("truth", workload, "--set", f"steps={round(share * steps)}")
        plan, _, _ = command(store, "plan", *words)
        assert not plan["unknown"] and not tensor_bytes(store)
        _, wall, computed = command(store, *words)
        found[name] = {
            "planned_s": round(plan["device_seconds"], 1),
            "computed_s": round(computed, 1),
            "off": f"{plan['device_seconds'] / computed - 1:+.0%}",
            "wall_s": round(wall, 1),
            "off_wall": f"{plan['device_seconds'] / wall - 1:+.0%}",
            "off_disk": f"{plan['disk_bytes'] / tensor_bytes(store) - 1:+.2%}",
            "load": f"{plan['load']:.0%}",
        }
        print(name, found[name], flush=True)
    return found
