"""Points as a frozen network sees them: what is trained on top of it never runs it again."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from samattr_ref.data.examples import Examples, Splits
from samattr_ref.data.sizes import DataSource
from samattr_ref.network.models import ModelRecipe
from samattr_ref.network.proof import check_behaviour, refuse_layers
from samattr_ref.network.trial import spread
from samattr_ref.support.device import device
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.fingerprint import fingerprint
from samattr_ref.support.memory import chunks
from samattr_ref.support.options import checked
from samattr_ref.support.seeds import seeded

TOGETHER = 256
"""So many points go through the backbone at once."""


@checked
@dataclass(frozen=True)
class Features:
    """Another data source's sets as the outputs of a frozen network, computed once for each point.

    Fine-tuning a head on a backbone whose parameters do not move is training the head alone on these: the same run,
    the same leave-one-out effects, at the cost of the head.

    Attributes:
        source: Where the points come from.
        backbone: Its `build` gives the frozen network, from inputs [b, ...] to features [b, ...]; pretrained parameters
            are loaded there. It runs in the mode that it is built in: call `eval()` on what has one.
    """

    source: DataSource
    backbone: ModelRecipe

    def load(self, seed: int) -> Splits:
        """The sets for that seed, the inputs replaced.

        Raises:
            SamattrError: if the backbone is random, mixes samples, is changed by a forward pass, or differs from build
                to build.
        """
        splits = self.source.load(seed)
        x = splits.train.x
        module, again = (self._built(splits, seed) for _ in range(2))
        if fingerprint(module).digest != fingerprint(again).digest:
            raise SamattrError("the backbone is another network the second time that it is built")
        refuse_layers(module)
        points = x[spread(x, splits.train.y)].to(device())
        check_behaviour(module, points, x[:TOGETHER].to(device()))
        parts = (splits.train, splits.queries, splits.tuning, splits.validation)
        train, queries, tuning, validation = (Examples(_outputs(module, part.x), part.y) for part in parts)
        return replace(splits, train=train, queries=queries, tuning=tuning, validation=validation)

    def _built(self, splits: Splits, seed: int) -> nn.Module:
        x = splits.train.x
        with seeded(seed, "backbone"):
            module = self.backbone.build(tuple(x.shape[1:]), splits.n_classes)
        return module.to(device(), x.dtype if x.is_floating_point() else None)


def _outputs(module: nn.Module, x: Tensor) -> Tensor:
    """The module's outputs for any number of inputs, on the CPU."""
    with torch.no_grad():
        return torch.cat([module(x[part].to(device())).cpu() for part in chunks(len(x), TOGETHER)])
