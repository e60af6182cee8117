"""Torch's fused kernels put aside: the plain operations that they stand for have derivatives of every order.

On a CPU or a CUDA device torch fuses attention, recurrent layers, weight norm and bags of embeddings into kernels whose
backward passes have no derivative themselves, or a wrong one (`torch._weight_norm` fails its own gradgradcheck). Within
`plain_kernels` a forward pass takes the plain operations: slower, the same numbers to rounding, derivatives right.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode


@contextmanager
def plain_kernels() -> Iterator[None]:
    """Within the block, forward passes build graphs of plain operations; in one thread at a time, for all of them."""
    libraries: list[Any] = [torch.backends.mkldnn, torch.backends.cudnn]
    mha, enabled = torch.backends.mha, [library.enabled for library in libraries]
    fused = mha.get_fastpath_enabled()
    try:
        for library in libraries:
            library.enabled = False
        mha.set_fastpath_enabled(False)
        with sdpa_kernel(SDPBackend.MATH), _Written():
            yield
    finally:
        for library, before in zip(libraries, enabled, strict=True):
            library.enabled = before
        mha.set_fastpath_enabled(fused)


class _Written(TorchFunctionMode):
    """Functions that torch fuses, written out."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        found = WRITTEN.get(func)
        result = NotImplemented if found is None else found(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {})) if result is NotImplemented else result


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """Of v and g, g v/‖v‖, the norm over all dimensions but one (Salimans & Kingma 2016, Eq. 2)."""
    others = [i for i in range(v.dim()) if i != dim % v.dim()] if dim != -1 else list(range(v.dim()))
    return v * (g / torch.sqrt((v * v).sum(others, keepdim=True)))


def _embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any:
    """The sum or mean of the rows of each bag, where bags are the rows of a matrix; else torch's own."""
    if input.dim() != 2 or mode == "max" or max_norm is not None or scale_grad_by_freq or padding_idx is not None:
        return NotImplemented
    rows = functional.embedding(input, weight)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights[..., None]
    return rows.mean(1) if mode == "mean" else rows.sum(1)


WRITTEN: dict[Any, Callable[..., Any]] = {
    torch._weight_norm: _weight_norm,
    functional.embedding_bag: _embedding_bag,
}
"""The functions, and what stands for each; it may give `NotImplemented` back."""
