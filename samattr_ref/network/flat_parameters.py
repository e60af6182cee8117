"""Where each trained parameter of a network stands in the flat vector ω."""

import itertools

from torch import Tensor, nn


class Layout:
    """The parameters of a module that are trained, in the order of ω: frozen ones (`requires_grad=False`) are no part.

    Args:
        module: The module.

    Attributes:
        names: Their names.
        shapes: Their shapes.
        sizes: How many numbers each has.
        size: P, how many all have.
        spans: The entries of ω that each is, by name.
    """

    def __init__(self, module: nn.Module) -> None:
        named = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
        self.names = list(named)
        self.shapes = [parameter.shape for parameter in named.values()]
        self.sizes = [parameter.numel() for parameter in named.values()]
        self.size = sum(self.sizes)
        ends = itertools.accumulate(self.sizes)
        self.spans = {
            name: slice(end - size, end) for name, size, end in zip(self.names, self.sizes, ends, strict=True)
        }

    def views(self, omega: Tensor) -> list[Tensor]:
        """The parameters of ω [P], or of several [m, P] with m in front."""
        lead = omega.shape[:-1]
        return [part.view(lead + s) for part, s in zip(omega.split(self.sizes, dim=-1), self.shapes, strict=True)]

    def named(self, omega: Tensor) -> dict[str, Tensor]:
        """The same by name."""
        return dict(zip(self.names, self.views(omega), strict=True))
