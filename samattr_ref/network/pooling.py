"""Mean pooling as sums of slices: torch's own takes the windows one by one, at a third of a small network's time."""

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from samattr_ref.network.bind import bind


class SlicedAvgPool2d(nn.AvgPool2d):
    """`AvgPool2d`, to rounding; where windows overlap, are padded or do not fit, itself."""

    def forward(self, x: Tensor) -> Tensor:
        """Means over windows of x [b, c, h, w], in its memory format."""
        sizes, strides = _pair(self.kernel_size), _pair(self.stride)
        fits = x.dim() == 4 and x.shape[2] % sizes[0] == 0 and x.shape[3] % sizes[1] == 0
        if not fits or sizes != strides or _pair(self.padding) != (0, 0) or self.divisor_override is not None:
            return super().forward(x)
        channels_last = x.stride(1) == 1
        total = x.permute(0, 2, 3, 1) if channels_last else x
        for dim, size in zip((1, 2) if channels_last else (2, 3), sizes, strict=True):
            total = reduce(torch.add, total.unflatten(dim, (-1, size)).unbind(dim + 1))
        mean = total * (1 / (sizes[0] * sizes[1]))
        return mean.permute(0, 3, 1, 2) if channels_last else mean


def with_sliced_pooling(module: nn.Module) -> nn.Module:
    """The module with `SlicedAvgPool2d` for its `AvgPool2d`: a copy, layer by layer, over the same parameters."""
    copied = bind(module, (p for p in module.parameters() if p.requires_grad), {})
    for layer in copied.modules():
        if type(layer) is nn.AvgPool2d:
            layer.__class__ = SlicedAvgPool2d
    return copied


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    both = (value, value) if isinstance(value, int) else tuple(value)
    return both[0], both[-1]
