"""Validation sets that differ from the ones that scores were made for: what scores are worth after a shift.

Inputs are expected in the range that a workload's own validation set spans; shifts act in its units.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from samattr_ref.data import Examples, data_folder
from samattr_ref.support.errors import SamattrError, unknown_name
from samattr_ref.support.seeds import stream

NOISE, BRIGHTNESS = 0.25, 0.3
"""Standard deviation of the noise, and the shift of brightness, as shares of the inputs' range."""


def shifted(examples: Examples, shift: str, n_classes: int, seed: int) -> Examples:
    """A validation set after a shift.

    Args:
        examples: The set, inputs [b, ...].
        shift: `classes` (only the first half of the classes), `noise` (Gaussian), `brightness` (brighter, clipped),
            `negative` (a change of style: light and dark exchanged), or `cifar10.1` (that data set in its place).
        n_classes: Number of classes.
        seed: Seed of the noise.

    Raises:
        SamattrError: for an unknown shift, or where nothing is left of the set.
    """
    if shift == "classes":
        return examples.take((examples.y < max(1, n_classes // 2)).nonzero()[:, 0])
    if shift == "cifar10.1":
        return cifar10_1(examples)
    if shift not in _STYLES:
        raise unknown_name("shift", shift, ["classes", "cifar10.1", *_STYLES])
    low, high = float(examples.x.min()), float(examples.x.max())
    unit = (examples.x - low) / (high - low)
    return Examples(low + (high - low) * _STYLES[shift](unit, seed).clamp(0, 1), examples.y)


def _noisy(unit: Tensor, seed: int) -> Tensor:
    return unit + NOISE * torch.randn(unit.shape, generator=stream(seed, "validation noise")).to(unit)


_STYLES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "noise": _noisy,
    "brightness": lambda unit, _: unit + BRIGHTNESS,
    "negative": lambda unit, _: 1 - unit,
}


def cifar10_1(like: Examples) -> Examples:
    """CIFAR-10.1 (Recht et al. 2018), as many images as there are in `like`, scaled to [-1, 1].

    Raises:
        SamattrError: if its files are not in the data folder, or are not what they should be.
    """
    folder = data_folder() / "cifar10.1"
    files = [folder / f"cifar10.1_v6_{part}.npy" for part in ("data", "labels")]
    if not all(file.is_file() for file in files):
        raise SamattrError(
            f"CIFAR-10.1 is not in {folder}: put cifar10.1_v6_data.npy and cifar10.1_v6_labels.npy of the repository "
            "modestyachts/CIFAR-10.1 there"
        )
    try:
        images, labels = (np.load(file, allow_pickle=False) for file in files)
    except ValueError as error:
        raise SamattrError(f"a file in {folder} is damaged ({error}): fetch it again") from error
    if images.shape != (len(labels), 32, 32, 3) or images.dtype != np.uint8:
        raise SamattrError(f"{files[0]} holds {images.dtype} {images.shape}, not uint8 images [b, 32, 32, 3]")
    chosen = slice(0, len(like.x))
    x = torch.as_tensor(images[chosen]).permute(0, 3, 1, 2).to(like.x) / 127.5 - 1
    return Examples(x, torch.as_tensor(labels[chosen], dtype=torch.int64).to(like.y))
