"""Where tensors live: on the CPU or on a CUDA device."""

import os

import torch

from samattr_ref.support.errors import SamattrError, unknown_name

DEVICES = ("cpu", "cuda")


def device() -> str:
    """Where tensors live: `SAMATTR_DEVICE`, or `cuda` where there is one, or `cpu`.

    Raises:
        SamattrError: if `SAMATTR_DEVICE` names what is not there.
    """
    there = torch.cuda.is_available()
    asked = os.environ.get("SAMATTR_DEVICE") or ("cuda" if there else "cpu")
    if asked not in DEVICES:
        raise unknown_name("SAMATTR_DEVICE", asked, DEVICES)
    if asked == "cuda" and not there:
        raise SamattrError("SAMATTR_DEVICE is cuda, and torch finds no CUDA device: unset it, or set it to cpu")
    return asked
