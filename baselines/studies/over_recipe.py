"""How far truth goes: fidelity of the exact derivative as training gets longer, faster, smoother or rougher."""

import math

import pandas as pd

from baselines.studies.agreement import agreement
from baselines.studies.cases import Case
from baselines.truth import leave_one_out
from samattr_ref.attribution import attribute
from samattr_ref.support.errors import UnstableError
from samattr_ref.training import train
from samattr_ref.workload import Workload

VALUES = {
    "steps": (50, 100, 200, 400, 800, 1600),
    "learning_rate": (0.03, 0.1, 0.3, 1.0, 2.0, 3.0),
    "momentum": (0.0, 0.5, 0.8, 0.9, 0.95, 0.98),
    "rho": (0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
}
ACTIVATIONS = ("tanh", "gelu", "relu")
COMPARED = ("sam-unrolled", "sam-gif")
SETTINGS = {"n_removed": 100}


def measure(workload: Workload, axis: str, value: float, activation: str) -> pd.DataFrame:
    """Agreement of the exact derivative and of SAM-GIF, and how much the derivative grows backwards through the run."""
    setting = {"axis": axis, "value": value, "activation": activation}
    try:
        run = train(workload.override(**{axis: value, "activation": activation}))
        truth = leave_one_out(run)
    except UnstableError as unstable:
        nothing = dict.fromkeys(("spearman", "growth", "accuracy"), math.nan)
        return pd.DataFrame([{"method": name, **setting, **nothing, "status": str(unstable)} for name in COMPARED])
    rows = [{"method": name, **agreement(truth, name, {})} for name in COMPARED]
    growth = attribute(run, "sam-unrolled", run.splits.queries.pool()).diagnostics["growth"]
    return pd.DataFrame(rows).assign(**setting, growth=growth, accuracy=run.accuracy(run.splits.validation))


CASES = {
    "beyond": [
        Case("digits-mlp", SETTINGS, {"axis": axis, "value": value, "activation": activation})
        for axis, values in VALUES.items()
        for value in values
        for activation in ACTIVATIONS
    ]
}
