"""Do scores change when the labels that were learnt from mean nothing? A sanity check that needs no ground truth.

The same workload is trained again on labels that are dealt out anew among its training points. Scores that look much
the same there say something of the inputs and nothing of what was learnt (Adebayo et al. 2018 for the features of an
input, Hanawa et al. 2021 for training points).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from baselines import metrics
from samattr_ref.data import DataSource, Examples, Splits
from samattr_ref.run import Run
from samattr_ref.support.seeds import stream
from samattr_ref.training import train


@dataclass(frozen=True)
class RandomLabels:
    """A data source whose training labels are dealt out anew.

    Attributes:
        source: The data source.
    """

    source: DataSource

    def load(self, seed: int) -> Splits:
        """Its sets: the labels are its own, in another order; those of the other sets stay."""
        splits = self.source.load(seed)
        order = torch.randperm(len(splits.train), generator=stream(seed, "random labels"))
        y = splits.train.y[order]
        return replace(
            splits,
            train=Examples(splits.train.x, y),
            noisy=(y != splits.train.y).view(len(y), -1).any(1),
            clean=None,
        )


def randomised(run: Run) -> Run:
    """The run of the same workload on random labels, trained or found in the store."""
    return train(replace(run.workload, data=RandomLabels(run.workload.data)))


def model_randomisation(run: Run, scores: Tensor, score: Callable[[Run], Tensor]) -> np.ndarray:
    """Rank correlation over the training points of scores with those of the run on random labels, [n_query].

    Low is good: 0 where scores follow what was learnt.

    Args:
        run: The run.
        scores: Its scores, [n_train, n_query].
        score: Scores another run for the same queries.
    """
    again = score(randomised(run))
    return metrics.spearman_per_query(scores.double().cpu().numpy(), again.double().cpu().numpy())
