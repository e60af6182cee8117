"""Independent random streams from one seed, and digests of what a result depends on."""

import hashlib
import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from samattr_ref.support.errors import SamattrError


def stream(seed: int, *names: str | int) -> torch.Generator:
    """A generator for one named purpose: streams of different names or seeds are independent of each other.

    >>> a, b = stream(0, "batches", 1), stream(0, "batches", 2)
    >>> bool((torch.rand(3, generator=a) == torch.rand(3, generator=b)).any())
    False
    """
    return torch.Generator().manual_seed(stream_seed(seed, *names))


def stream_seed(seed: int, *names: str | int) -> int:
    """The 63-bit seed of the stream of that name.

    Raises:
        SamattrError: for a negative seed.
    """
    text = json.dumps([checked_seed("a seed", seed), *names])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def checked_seed(name: str, seed: int | None) -> int | None:
    """A seed that a user gives, whatever kind of integer it is, or None.

    Raises:
        SamattrError: if it is negative.
    """
    if seed is None:
        return None
    if seed < 0:
        raise SamattrError(f"{name} must be a whole number of at least 0, not {seed}")
    return int(seed)


_seeding = threading.RLock()


@contextmanager
def seeded(seed: int, *names: str | int) -> Iterator[None]:
    """Within the block, the global generators of torch, NumPy and `random` start from the stream of that name.

    What a user's code draws from them is then the same every time. They are put back afterwards; one thread at a time,
    since all threads share them.
    """
    number = stream_seed(seed, *names)
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with _seeding, torch.random.fork_rng(devices):
        numpy, python = np.random.get_state(), random.getstate()  # noqa: NPY002 — the global one is what users draw from
        torch.manual_seed(number)
        np.random.seed(number % 2**32)  # noqa: NPY002
        random.seed(number)
        try:
            yield
        finally:
            np.random.set_state(numpy)  # noqa: NPY002
            random.setstate(python)


def tensor_digest(*tensors: Tensor) -> str:
    """SHA-256 of the tensors' dtypes, shapes and values, in hexadecimal."""
    digest = hashlib.sha256()
    for tensor in tensors:
        array = tensor.detach().cpu().contiguous()
        digest.update(f"{array.dtype}{tuple(array.shape)}".encode())
        digest.update(array.numpy().tobytes())
    return digest.hexdigest()


def values_digest(tensor: Tensor) -> str:
    """SHA-256 of the raw little-endian values alone, in hexadecimal."""
    return hashlib.sha256(tensor.detach().cpu().contiguous().numpy().tobytes()).hexdigest()


UNKEYED = "unkeyed-"
"""How the digest of what cannot be keyed begins, and of all that depends on it: nothing is found again by it."""


def json_digest(value: Any) -> str:
    """A short digest (24 hexadecimal digits) of a value that JSON can hold."""
    text = json.dumps(value, sort_keys=True)
    return (UNKEYED if UNKEYED in text else "") + hashlib.sha256(text.encode()).hexdigest()[:24]
