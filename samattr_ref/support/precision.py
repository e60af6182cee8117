"""The precision of float32 products: float32 itself; TF32 or bfloat16 only where `SAMATTR_PRECISION` asks for it.

Convolutions on a CUDA device are those that give the same bits every time.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from samattr_ref.support.errors import unknown_name

DEFAULT = "float32"

SWITCHES = {DEFAULT: "highest", "tf32": "high", "bf16": "medium"}
"""What torch calls them."""


@cache
def use_precision_once() -> None:
    """Set torch to the precision that is asked for at the first use of a workload: importing the package sets nothing.

    Whoever sets torch to another one after that has results of that precision, keyed by it.
    """
    use_precision()
    torch.backends.cudnn.deterministic = True


def use_precision() -> None:
    """Set torch to the precision that is asked for; an unknown one is left to `precision` to refuse.

    Torch's own default lets convolutions on a CUDA device be TF32: here they are float32 too.
    """
    asked = os.environ.get("SAMATTR_PRECISION") or DEFAULT
    if asked in SWITCHES:
        torch.set_float32_matmul_precision(SWITCHES[asked])
        torch.backends.cudnn.allow_tf32 = asked != DEFAULT


@contextmanager
def full_precision() -> Iterator[None]:
    """Within the block, products are float32's own: two ways of computing are compared, not how they are rounded."""
    matmul, convolution = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision(SWITCHES[DEFAULT])
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = convolution


def precision() -> str:
    """The precision that torch is set to: `float32`, `tf32` or `bf16`.

    Raises:
        SamattrError: if `SAMATTR_PRECISION` asks for another.
    """
    asked = os.environ.get("SAMATTR_PRECISION") or DEFAULT
    if asked not in SWITCHES:
        raise unknown_name("SAMATTR_PRECISION", asked, SWITCHES)
    switch = torch.get_float32_matmul_precision()
    return next(name for name, known in SWITCHES.items() if known == switch)
