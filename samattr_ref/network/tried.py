"""The fast ways of computing that were found right for one network, each tried when it is first asked for.

What is tried depends on the trial's points and parameters alone, never on what was computed before: the order of calls
changes no bit of a result. Without a trial nothing is believed, and all is computed in the plainest way.
"""

import logging
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.func import vmap

from samattr_ref.network.curvature_products import (
    backward_gauss_newton,
    backward_hessian,
    forward_gauss_newton,
    forward_hessian,
    forward_products,
)
from samattr_ref.network.linear_chain import Chain, ChainLinearised
from samattr_ref.network.linearised import Linearised
from samattr_ref.network.losses import CROSS_ENTROPY
from samattr_ref.network.sample_gradients import GhostEngine, known_layers
from samattr_ref.network.stacked import stacked_gradients
from samattr_ref.network.trial import Trial, differing
from samattr_ref.support.precision import full_precision
from samattr_ref.support.seeds import stream

if TYPE_CHECKING:
    from samattr_ref.network.objective import Objective

log = logging.getLogger("samattr")


class Tried:
    """What was found right for a network.

    Args:
        objective: The training loss, without its L2 term.
        trial: What to try at; None believes nothing.
    """

    def __init__(self, objective: "Objective", trial: Trial | None) -> None:
        self.objective, self.network, self.trial = objective, objective.network, trial

    @cached_property
    def engine(self) -> GhostEngine:
        """Per-sample gradients: in factors for the layers where that is right, by `vmap` or one by one for the rest."""
        trial, network = self.trial, self.network
        if trial is None:
            return GhostEngine(network)
        layers = self._layers(trial)
        rest = set(network.layout.names) - {name for owned in layers.values() for name in owned}
        traced = not rest or trial.passes(lambda omega: GhostEngine(network, (), True).formed(omega, trial.x, trial.y))
        if not traced:
            log.warning("torch.func.vmap cannot follow the network: samples are taken one at a time, which is slow")
        return GhostEngine(network, layers, traced)

    def _layers(self, trial: Trial) -> dict[str, list[str]]:
        """The layers whose gradients can be made of inputs and output gradients, with their parameters' names."""
        network, ways = self.network, self.network.ways
        if ways.call == "lent" or ways.branches:
            return {}
        known = {
            name: [f"{name}.{own}" if name else own for own in network.module.get_submodule(name)._parameters]
            for name in known_layers(network.module)
        }
        known = {name: [own for own in owned if own in network.layout.spans] for name, owned in known.items()}
        known = {name: owned for name, owned in known.items() if not trial.silent.issuperset(owned)}

        def wrong(layers: dict[str, list[str]]) -> set[str]:
            engine = GhostEngine(network, layers)
            names = [own for owned in layers.values() for own in owned]
            return trial.wrong(lambda omega: engine.gradients(omega, trial.x, trial.y).dense(), names)

        def right(layers: dict[str, list[str]]) -> dict[str, list[str]]:
            bad = wrong(layers)
            return {name: owned for name, owned in layers.items() if not bad.intersection(owned)}

        together = right(known)
        if together or not known:  # those that are wrong are left out, and the others are right without them
            return together
        return {name: owned for layer in known for name, owned in right({layer: known[layer]}).items()}

    @cached_property
    def chain(self) -> Chain | None:
        """The network as a chain of linear layers, whose derivatives by cross-entropy are written out; else None."""
        if self.trial is None or self.network.ways.branches or self.network.loss != CROSS_ENTROPY:
            return None
        try:
            chain = Chain(self.network.module)
        except TypeError:  # other layers
            return None
        return chain if not self.trial.silent and self._agree(self._of_chain(chain), self._of_graph) else None

    @cached_property
    def forward(self) -> bool:
        """Whether forward mode, and curvature products with many directions in one pass, are right."""
        own = self.objective

        def found(omega: Tensor, x: Tensor, y: Tensor, u: Tensor) -> list[Tensor]:
            v = u.T.contiguous()
            hessian, gauss_newton = forward_hessian(own, omega, x, y, v), forward_gauss_newton(own, omega, x, y, v)
            return [hessian.T, gauss_newton.T, forward_products(own, omega, x, y, v).T @ self._rows(omega)]

        def true(omega: Tensor, x: Tensor, y: Tensor, u: Tensor) -> list[Tensor]:
            v, rows = u.T.contiguous(), self._rows(omega)
            curvatures = [backward_hessian(own, omega, x, y, v).T, backward_gauss_newton(own, omega, x, y, v).T]
            return [*curvatures, (u @ rows.T) @ rows]

        return self._said(self._agree(found, true), "forward mode", "curvature products go direction by direction")

    @cached_property
    def together(self) -> bool:
        """Whether backward passes along several directions may go together."""

        def found(omega: Tensor, x: Tensor, y: Tensor, u: Tensor) -> list[Tensor]:
            return [Linearised(self.objective, omega, x, y, None).together(u)[0]]

        return self._agree(found, lambda *at: self._of_graph(*at)[:1])

    @cached_property
    def networks(self) -> bool:
        """Whether `torch.func.vmap` over parameters gives the gradients of many networks."""
        own = self.objective

        def found(omega: Tensor, x: Tensor, y: Tensor, u: Tensor) -> list[Tensor]:
            return [vmap(lambda w: own.gradient(w, x, y))(torch.stack([omega, omega + u[0]]))]

        def true(omega: Tensor, x: Tensor, y: Tensor, u: Tensor) -> list[Tensor]:
            return [torch.stack([own.eager_gradient(w, x, y) for w in (omega, omega + u[0])])]

        return self._agree(found, true)

    def _rows(self, omega: Tensor) -> Tensor:
        assert self.trial is not None
        return next(rows for at, rows in zip(self.trial.omegas, self.trial.rows, strict=True) if at is omega)

    def _of_graph(self, omega: Tensor, x: Tensor, y: Tensor, u: Tensor) -> list[Tensor]:
        """Products along u [m, P] and the gradient by plain autograd."""
        linearised = Linearised(self.objective, omega, x, y, None)
        products = torch.cat([linearised.along(row[None])[0] for row in u])
        return [products, linearised.gradient, self._rows(omega), self._rows(omega)]

    def _of_chain(self, chain: Chain) -> Callable[..., list[Tensor]]:
        """The same by a chain's written-out derivatives, and each sample's gradient by networks that are stacked."""

        def found(omega: Tensor, x: Tensor, y: Tensor, u: Tensor) -> list[Tensor]:
            linearised = ChainLinearised(chain, 0.0, omega, x, y)
            product, _ = linearised.along(u)
            identity = torch.eye(len(x)).to(omega)
            stacked = stacked_gradients(chain, omega.expand(len(x), -1), x, y, identity * len(x))
            rows = [ChainLinearised(chain, 0.0, omega, x[i : i + 1], y[i : i + 1]).gradient for i in range(len(x))]
            return [product, linearised.gradient, stacked, torch.stack(rows)]

        return found

    @full_precision()
    def _agree(self, found: Callable[..., list[Tensor]], true: Callable[..., list[Tensor]]) -> bool:
        """Whether vectors [..., P] that depend on ω, points and directions are what they should be at every ω."""
        if self.trial is None:
            return False
        for omega in self.trial.omegas:
            u = torch.randn(2, len(omega), generator=stream(0, "directions"), dtype=torch.float64).to(omega)
            at = omega, self.trial.x, self.trial.y, u * float(omega.square().mean().sqrt())
            try:
                pairs: list[tuple[Any, Any]] = list(zip(found(*at), true(*at), strict=True))
            except Exception:  # whatever a user's network raises where it is called in another way than its own
                return False
            if any(differing(self.network.layout, a, b, SECOND) for a, b in pairs):
                return False
        return True

    def _said(self, right: bool, what: str, instead: str) -> bool:
        if self.trial is not None and not right:
            log.warning("torch.func's %s cannot follow the network: %s, which is slow", what, instead)
        return right


SECOND = 10.0
"""Rounding grows in second derivatives: so many times what it is in gradients."""
