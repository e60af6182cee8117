"""The tiny workloads that a method is checked on: trained in a moment, every exact leave-one-out effect in a second.

Two functions make another workload of one, of which it is known what its scores must be: `renumbered` gives the
training points other numbers, and `doubled` has the first of them twice.
"""

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from samattr_ref.data import DataSource, Digits, Splits
from samattr_ref.network.models import MLP, LogisticRegression
from samattr_ref.recipe import SamRecipe
from samattr_ref.support.seeds import stream
from samattr_ref.workload import Workload

N_TRAIN = 40
DIGITS = Digits(n_train=N_TRAIN, n_query=6, n_tuning=5, n_validation=N_TRAIN, noise=None)
"""As many validation points as training points, and another number of queries."""

RECIPE = SamRecipe(steps=20, batch_size=5, learning_rate=0.2, weight_decay=0.3, sampling="replacement")
"""So short, and with an L2 term so large, that gradients, influence functions and the whole run all agree in sign with
exact retraining. Batches are drawn with replacement, and so few that some points are in none."""

BATCHED = Workload("tiny-mlp", DIGITS, MLP((3,)), RECIPE, dtype="float64")


@dataclass(frozen=True)
class Taken:
    """Another data source's sets, the training points taken by number: in another order, or some of them twice.

    Attributes:
        source: The other source.
        order: The numbers of the points there.
    """

    source: DataSource
    order: tuple[int, ...]

    def load(self, seed: int) -> Splits:
        """The sets for that seed."""
        splits = self.source.load(seed)
        order = torch.tensor(self.order)
        clean = None if splits.clean is None else splits.clean[order]
        return replace(splits, train=splits.train.take(order), noisy=splits.noisy[order], clean=clean)


@dataclass(frozen=True)
class Renumbered(SamRecipe):
    """A recipe whose batches name the points by other numbers, each batch in the order that it had.

    Attributes:
        order: Which number each point had before.
    """

    order: tuple[int, ...] = ()

    def batches(self, n: int, seed: int) -> Tensor:
        """The points of every batch by their new numbers, int64 [T, B]."""
        before = super().batches(n, seed)
        position = torch.argsort(torch.tensor(self.order))
        return torch.where(before >= 0, position[before], -1)


def renumbered(workload: Workload) -> tuple[Workload, Tensor]:
    """The workload with its training points in another order, and that order [n]: it trains to the very same network.

    Point i of it is point `order[i]` of the other, in data and in batches, whatever the seed of training.
    """
    order = torch.randperm(len(workload.splits.train), generator=stream(workload.seed, "renumbered"))
    numbers = tuple(order.tolist())
    given = {f.name: getattr(workload.recipe, f.name) for f in fields(workload.recipe)}
    return replace(workload, data=Taken(workload.data, numbers), recipe=Renumbered(**given, order=numbers)), order


def doubled(workload: Workload, n_train: int) -> Workload:
    """The workload of so many points with its first one once more as its last, and every point in every batch."""
    numbers = (*range(n_train), 0)
    return replace(workload, data=Taken(workload.data, numbers), recipe=replace(workload.recipe, batch_size=None))


DOUBLED = doubled(Workload("tiny-logreg", DIGITS, LogisticRegression(), RECIPE, dtype="float64"), N_TRAIN)
