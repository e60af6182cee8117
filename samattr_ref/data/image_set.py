"""Images with labels, read when they are drawn: from arrays in memory or from files."""

import io
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from samattr_ref.data.examples import Examples
from samattr_ref.data.folder import File
from samattr_ref.support.errors import SamattrError, first_line

SUFFIXES = (".jpg", ".jpeg", ".png")
"""The endings of image files."""

LARGEST = 64 << 20
"""Bytes of the largest file that is read as an image: an entry of a zip file may unpack to any size."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images.

    Attributes:
        labels: Class indices [n].
        read: The images at some positions [k], as inputs [k, c, h, w].
        files: Where each image lies, or None where they come from memory.
    """

    labels: Tensor
    read: Callable[[Tensor], Tensor]
    files: list[File] | None = None

    def __len__(self) -> int:
        """The number of images."""
        return len(self.labels)

    def take(self, indices: Tensor) -> Examples:
        """The examples at those positions."""
        return Examples(self.read(indices), self.labels[indices])


def from_arrays(images: Any, labels: Any) -> ImageSet:
    """Colour images from an array [n, h, w, 3] of bytes, scaled to [-1, 1]."""

    def read(indices: Tensor) -> Tensor:
        chosen = torch.as_tensor(images)[indices].permute(0, 3, 1, 2).contiguous()
        return chosen.to(torch.float32) / 127.5 - 1

    return ImageSet(torch.as_tensor(labels, dtype=torch.int64), read)


def from_files(named: Sequence[tuple[File, str]], classes: list[str], size: int | None = None) -> ImageSet:
    """Colour images from files with the names of their classes, scaled to [-1, 1].

    Args:
        named: The files, each with the name of its class.
        classes: The names in the order of their class indices.
        size: Height and width in pixels that each image is resized to; None leaves them as they are.
    """
    files = [file for file, _ in named]
    index = {name: i for i, name in enumerate(classes)}
    labels = torch.tensor([index[name] for _, name in named], dtype=torch.int64)
    return ImageSet(labels, partial(_read_files, files, size), files)


def _read_files(files: list[File], size: int | None, indices: Tensor) -> Tensor:
    chosen = [files[i] for i in indices.tolist()]
    images = [_read_file(file, size) for file in chosen]
    other = next((i for i, image in enumerate(images) if image.shape != images[0].shape), None)
    if other is not None:
        raise SamattrError(f"{chosen[other]} is not of the size of {chosen[0]}: make all images one size")
    return torch.stack(images)


def _read_file(path: File, size: int | None) -> Tensor:
    from PIL import Image
    from torchvision.transforms.functional import pil_to_tensor

    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise SamattrError(f"{path} is larger than {LARGEST >> 20} MiB: not an image of a data set")
        with Image.open(io.BytesIO(content)) as image:
            colour = image.convert("RGB")
    except (OSError, zipfile.BadZipFile, zlib.error, Image.DecompressionBombError) as error:
        raise SamattrError(f"{path} is not a readable image ({first_line(error)}): fetch it again") from error
    square = colour if size is None else colour.resize((size, size), Image.Resampling.BILINEAR)
    pixels: Tensor = pil_to_tensor(square)
    return pixels.to(torch.float32) / 127.5 - 1
