"""Measurements in a table."""

from dataclasses import dataclass

import torch

from samattr_ref.data.examples import Examples, Splits
from samattr_ref.data.sizes import Sizes, make_splits
from samattr_ref.support.options import checked


@checked
@dataclass(frozen=True, kw_only=True)
class BreastCancer(Sizes):
    """The Wisconsin breast cancer data that scikit-learn ships: 569 tumours, 30 measurements, malignant (0) or benign.

    Each measurement is standardised by the mean and the standard deviation of the training points.
    """

    n_train: int = 300
    n_query: int = 80
    n_tuning: int = 30
    n_validation: int = 150

    def load(self, seed: int) -> Splits:
        """The sets for that seed, inputs [b, 30]."""
        from sklearn.datasets import load_breast_cancer

        table = load_breast_cancer()
        x = torch.as_tensor(table.data, dtype=torch.float64)
        y = torch.as_tensor(table.target, dtype=torch.int64)
        (train,), others = self.draw(len(x), None, seed)
        deviation = x[train].std(0, correction=0)
        # A measurement that is constant over few training points says nothing: it is left unscaled.
        x = (x - x[train].mean(0)) / torch.where(deviation > 0, deviation, 1.0)
        return make_splits(self, [Examples(x[i], y[i]) for i in (train, *others)], 2, seed)

    def described(self, seed: int) -> tuple[list[str], list[str]]:
        """The measurements of the training points and of the queries, those furthest from the mean first."""
        from sklearn.datasets import load_breast_cancer

        names = [str(name) for name in load_breast_cancer().feature_names]
        splits = self.load(seed)
        train, queries = ([_measurements(names, row) for row in part.x] for part in (splits.train, splits.queries))
        return train, queries


def _measurements(names: list[str], row: torch.Tensor) -> str:
    """Measurements in standard deviations from the mean."""
    order = row.abs().argsort(descending=True).tolist()
    return ", ".join(f"{names[i]} {row[i]:+.1f}" for i in order)
