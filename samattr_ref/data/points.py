"""Points that are there already: arrays, or a dataset of PyTorch."""

from dataclasses import dataclass, field
from typing import Any

from samattr_ref.data.examples import Examples, LabelNoise, Splits, examples_of
from samattr_ref.data.sizes import Sizes, make_splits
from samattr_ref.data.usable import check_apart
from samattr_ref.support.options import checked


@checked
@dataclass(frozen=True, kw_only=True)
class Points(Sizes):
    """A user's own points, as in `Points(data=(x, y), n_train=1000)`.

    Attributes:
        data: A pair (inputs, labels) of tensors, arrays or lists, or a map-style dataset of pairs (input, label), such
            as a torch.utils.data.Dataset.
        test: Points that queries, tuning queries and validation points are drawn from, in the same form, and none of
            `data`; None draws all sets from `data`, no point into two of them.
        noise: Label noise on the training points; none by default.
    """

    data: Any = field(repr=False)
    test: Any = field(default=None, repr=False)
    noise: LabelNoise | None = None

    def load(self, seed: int) -> Splits:
        """The sets for that seed, inputs [b, ...] as they are given.

        Raises:
            SamattrError: for data that is none, has fewer points than are asked for, or whose `test` was drawn from it.
        """
        points = examples_of(self.data, "data")
        held_out = None if self.test is None else examples_of(self.test, "test")
        if held_out is not None:
            check_apart(points, {"test": held_out})
        train, others = self.draw(len(points), None if held_out is None else len(held_out), seed)
        rest: Examples = points if held_out is None else held_out
        n_classes = max(points.n_outputs, rest.n_outputs)
        return make_splits(self, [points.take(train[0]), *(rest.take(i) for i in others)], n_classes, seed)
