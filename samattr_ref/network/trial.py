"""A few points and parameters that fast ways of computing are tried at, and what is true there.

What is true is what plain PyTorch says: the module itself holds ω as an optimiser leaves it, and autograd takes one
sample at a time. The points are spread over the data, those of smallest and largest norm and one of each class among
them; the parameters are such that gradients are not zero for a reason of their own (a head that starts at zero): the
initial ones with noise, and the final ones. A parameter whose gradient is zero at all of them has shown nothing.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from samattr_ref.network.flat_parameters import Layout
from samattr_ref.network.network import Network
from samattr_ref.support.precision import full_precision
from samattr_ref.support.seeds import stream

POINTS = 12
"""How many points are tried."""

LOOKED_AT = 4096
"""Of so many points, spread evenly, norms and classes are looked at."""

NOISE = 0.2
"""Standard deviation of the noise on a parameter, relative to its entries."""


@dataclass(frozen=True, eq=False)
class Trial:
    """Points and parameters of a network to try ways of computing at.

    Attributes:
        network: The network.
        x: Inputs of the points, [k, ...].
        y: Their labels, [k].
        omegas: Parameters, [P] each.
    """

    network: Network
    x: Tensor
    y: Tensor
    omegas: tuple[Tensor, ...]

    @cached_property
    def rows(self) -> list[Tensor]:
        """∇ℓ_i(ω) of each point, at each ω: [k, P]."""
        alone = list(zip(self.x.split(1), self.y.split(1), strict=True))
        gradient = self.network.plain_gradient
        return [torch.stack([gradient(omega, x, y)[1] for x, y in alone]) for omega in self.omegas]

    @cached_property
    def gradients(self) -> list[Tensor]:
        """The gradient of the mean loss of all points, at each ω: [P]."""
        return [self.network.plain_gradient(omega, self.x, self.y)[1] for omega in self.omegas]

    def passes(self, rows: Callable[[Tensor], Tensor]) -> bool:
        """Whether what takes ω to ∇ℓ_i(ω) [k, P] is right at every ω."""
        return not self.wrong(rows, self.network.layout.names)

    @full_precision()
    def wrong(self, rows: Callable[[Tensor], Tensor], names: Collection[str]) -> set[str]:
        """Of the named parameters those whose part of ∇ℓ_i(ω) [k, P] is wrong at some ω; all, where there is none."""
        found = set[str]()
        for omega, true in zip(self.omegas, self.rows, strict=True):
            try:
                mine = rows(omega)
            except Exception:  # whatever a user's network raises where it is called in another way than its own
                return set(names)
            found |= differing(self.network.layout, mine, true)
        return found.intersection(names)

    @cached_property
    def silent(self) -> set[str]:
        """The parameters whose gradients are zero at all points and ω, but for rounding."""
        layout = self.network.layout
        heard = set[str]()
        for true in self.rows:
            least = floor(true)
            heard |= {name for name, span in layout.spans.items() if float(true[:, span].abs().max()) > least}
        return set(layout.names) - heard


def differing(layout: Layout, found: Tensor, true: Tensor, factor: float = 1.0) -> set[str]:
    """The parameters whose parts of vectors [..., P] differ, each by its own size, beyond `factor` times rounding.

    A small gradient that is wrong must not hide behind a large one.
    """
    tolerance, least = factor * torch.finfo(true.dtype).eps ** 0.5, floor(true)
    if found.shape != true.shape:
        return set(layout.names)
    different = set()
    for name, span in layout.spans.items():
        a, b = found[..., span], true[..., span]
        if not bool((a - b).abs().max() <= tolerance * b.abs().max() + least):  # NaN is different
            different.add(name)
    return different


def floor(true: Tensor) -> float:
    """What is rounding in vectors whose largest entry is much larger."""
    eps: float = torch.finfo(true.dtype).eps ** 0.75
    return eps * float(true.abs().max())


def spread(x: Tensor, y: Tensor, count: int = POINTS) -> Tensor:
    """Positions of at most `count` points: the first and last, of smallest and largest norm, of each class, others."""
    looked_at = torch.linspace(0, len(x) - 1, min(len(x), LOOKED_AT)).round().to(torch.int64)
    norms = torch.linalg.vector_norm(x[looked_at].flatten(1).double(), dim=1)
    labels = y[looked_at].tolist() if y.ndim == 1 and not y.is_floating_point() else []  # else there are no classes
    first = {label: i for i, label in reversed(list(enumerate(labels)))}
    chosen = [0, len(looked_at) - 1, int(norms.argmin()), int(norms.argmax()), *first.values()]
    chosen += torch.linspace(0, len(looked_at) - 1, count).round().int().tolist()
    return looked_at[torch.tensor(list(dict.fromkeys(chosen))[:count])]


def noisy(layout: Layout, omega: Tensor) -> Tensor:
    """ω [P] with noise on every parameter, in proportion to its entries, or to 1/√fan-in where they are all zero."""
    noise = torch.randn(len(omega), generator=stream(0, "trial"), dtype=torch.float64)
    moved = omega.clone()
    for part, shape, own in zip(moved.split(layout.sizes), layout.shapes, noise.split(layout.sizes), strict=True):
        size = float(part.double().square().mean().sqrt())
        fan_in = part.numel() / shape[0] if len(shape) > 1 else 1
        part.add_(NOISE * (size or fan_in**-0.5) * own.to(part))
    return moved
