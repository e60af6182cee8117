"""The closest published setting of same-run leave-one-out: MNIST, 6,000 points, 784-16-16-10, one epoch.

Deng et al. 2026 (arXiv 2605.18814) train it with ReLU and AdamW; here it is SAM and plain SGD with momentum, with ReLU
and with GELU.
"""

from typing import Any

import pandas as pd

from baselines.studies.cases import Case
from baselines.studies.chosen import not_of_family
from baselines.studies.loo_and_lds import fidelity
from samattr_ref.registry import Family
from samattr_ref.training import train
from samattr_ref.workload import Workload

METHODS = not_of_family(Family.IMPLICIT)
NETWORKS: dict[str, dict[str, Any]] = {
    "SAM, ReLU": {"activation": "relu"},
    "SGD, ReLU": {"activation": "relu", "rho": 0.0},
    "SAM, GELU": {"activation": "gelu"},
    "SGD, GELU": {"activation": "gelu", "rho": 0.0},
}


def measure(workload: Workload, network: str) -> pd.DataFrame:
    """The methods that need no solve a query, against leave-one-out of the network trained that way."""
    own = workload.override(**NETWORKS[network])
    run = train(own)
    frame = fidelity(own, METHODS, (), 0, {name: {} for name in METHODS})
    return frame.assign(network=network, accuracy=run.accuracy(run.splits.validation))


CASES = {"beyond": [Case("mnist-mlp-16", {}, {"network": network}) for network in NETWORKS]}
