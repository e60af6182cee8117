"""The networks themselves: what training makes of a workload, epoch by epoch and at several seeds."""

from dataclasses import asdict, replace

import pandas as pd
import torch

from baselines.quality import quality
from baselines.studies.cases import Case
from samattr_ref.support.timing import noted
from samattr_ref.training import train
from samattr_ref.workload import Workload

MOMENTS = 12
"""At about so many steps of a run its accuracy is taken, the last among them."""


def measure(workload: Workload, runs: int) -> pd.DataFrame:
    """Train at several seeds, the workload's own and those that follow it.

    Returns:
        Rows `run` (from 0), `step`: `epoch`, `accuracy` on the validation points and `fitted`, the share of the wrong
        labels that the network gives; and of each run's end `final_accuracy`, `final_training_accuracy`,
        `final_fitted`, `seconds`, with `load` and `disturbed` (see `samattr_ref.support.timing`), and `n_parameters`.
    """
    rows = []
    for i in range(runs):
        run = train(replace(workload, seed=workload.seed + i))
        wrong = run.splits.noisy.nonzero()[:, 0]
        wrong_points = run.train.take(wrong) if len(wrong) else None
        end = {f"final_{name}": value for name, value in asdict(quality(run)).items()}
        end |= {"seconds": run.timing.seconds, **noted(run.timing), "n_parameters": len(run.parameters)}
        seen = (run.batches >= 0).sum(1).cumsum(0) / run.n_train
        kept = torch.linspace(0, len(run.checkpoint_steps) - 1, MOMENTS).round().long().unique().tolist()
        moments = [(int(run.checkpoint_steps[c]), run.checkpoints[c]) for c in kept]
        for step, omega in [*moments, (run.n_steps, run.parameters)]:
            rows.append(
                {
                    "run": i,
                    "step": step,
                    "epoch": float(seen[step - 1]) if step else 0.0,
                    "accuracy": run.accuracy(run.splits.validation, omega),
                    "fitted": float("nan") if wrong_points is None else run.accuracy(wrong_points, omega),
                }
                | end
            )
    return pd.DataFrame(rows)


CASES = {
    "real": [
        Case("mnist-mlp-full", arguments={"runs": 3}),
        Case("mnist-cnn-full", arguments={"runs": 1}),
        Case("fashion-cnn-full", arguments={"runs": 1}),
        Case("cifar10-cnn-norm-20000", arguments={"runs": 3}),
        Case("cifar10-resnet9-narrow", arguments={"runs": 1}),
    ]
}
