"""Versions and hardware, as every result carries them."""

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch

from samattr_ref.support.device import device
from samattr_ref.support.precision import precision


def environment() -> dict[str, Any]:
    """Versions and hardware, as every result carries them."""
    return {
        "samattr": version("samattr"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "cores": psutil.cpu_count(),
        "threads": torch.get_num_threads(),
        "precision": precision(),
        "gpu": torch.cuda.get_device_name() if device() == "cuda" else None,
    }


def _cpu_name() -> str:
    """The processor's name as the system gives it."""
    described = Path("/proc/cpuinfo")
    if described.exists():
        for line in described.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
