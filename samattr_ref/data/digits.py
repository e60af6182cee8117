"""The digits that scikit-learn ships."""

from dataclasses import dataclass

import torch

from samattr_ref.data.examples import Examples, Splits
from samattr_ref.data.sizes import Sizes, make_splits
from samattr_ref.support.options import checked


@checked
@dataclass(frozen=True, kw_only=True)
class Digits(Sizes):
    """The 1,797 8x8 handwritten digits that scikit-learn ships, scaled to [0, 1]."""

    def load(self, seed: int) -> Splits:
        """The sets for that seed, inputs [b, 1, 8, 8]."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        x = torch.as_tensor(digits.images, dtype=torch.float64)[:, None] / 16
        y = torch.as_tensor(digits.target, dtype=torch.int64)
        train, others = self.draw(len(x), None, seed)
        return make_splits(self, [Examples(x[i], y[i]) for i in train + others], 10, seed)
