"""Augmentation that is a function of the seed and the step, so that a run can be taken again and differentiated."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from samattr_ref.support.errors import SamattrError
from samattr_ref.support.options import checked
from samattr_ref.support.seeds import stream


class Augmentation(Protocol):
    """How the inputs of a step differ from the points of its batch: any frozen dataclass with this method will do."""

    def view(self, x: Tensor, seed: int, step: int) -> Tensor:
        """The inputs of that step, of the shape of x, the same whenever it is asked again."""


@checked
@dataclass(frozen=True)
class FlipAndShift:
    """Images mirrored half of the time and moved by whole pixels, with their borders reflected.

    Each place of a batch draws for itself: removing a point changes no other's view.

    Attributes:
        flip: Whether half of the images are mirrored.
        shift: Up to how many pixels they are moved, up or down and left or right.
    """

    flip: bool = True
    shift: int = 2

    def __post_init__(self) -> None:
        if self.shift < 0:
            raise SamattrError(f"shift must be at least 0, not {self.shift}")

    def view(self, x: Tensor, seed: int, step: int) -> Tensor:
        """The images [b, c, h, w] as the step sees them.

        Raises:
            SamattrError: for inputs that are no images, or images not larger than the shift.
        """
        if x.dim() != 4 or min(x.shape[2:]) <= self.shift:
            raise SamattrError(
                f"FlipAndShift is for images [c, h, w] of more than {self.shift} pixels, not {list(x.shape[1:])}"
            )
        count, (height, width) = len(x), x.shape[2:]
        generator = stream(seed, "augmentation", step)
        offsets = torch.randint(2 * self.shift + 1, (2, count, 1), generator=generator).to(x.device)
        flipped = (torch.rand(count, generator=generator) < 0.5).to(x.device) & self.flip
        rows = torch.arange(height, device=x.device) + offsets[0]
        columns = torch.arange(width, device=x.device).expand(count, width)
        columns = torch.where(flipped[:, None], columns.flip(1), columns) + offsets[1]
        padded = pad(x, (self.shift,) * 4, mode="reflect") if self.shift else x
        image = torch.arange(count, device=x.device)[:, None, None]
        moved: Tensor = padded.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]]
        return moved.permute(0, 3, 1, 2).contiguous()
