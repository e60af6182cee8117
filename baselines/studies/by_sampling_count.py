"""Agreement against how often a point was sampled: is SAM-GIF noisy for points that were rarely in a batch?"""

from dataclasses import replace

import numpy as np
import pandas as pd

from baselines.metrics import relative_error, spearman_per_query
from baselines.studies.agreement import chosen_options
from baselines.studies.cases import DESK, PAPER
from baselines.studies.chosen import compared
from baselines.truth import Truth, leave_one_out
from baselines.validation import GROUND_TRUTH, on_removed
from samattr_ref.attribution import attribute
from samattr_ref.support.errors import SamattrError
from samattr_ref.training import train
from samattr_ref.workload import Workload

BINS = 5


def measure(workload: Workload) -> pd.DataFrame:
    """Agreement within groups of points that were sampled about equally often."""
    run = train(workload)
    truth = leave_one_out(run)
    true = truth.values.double().cpu().numpy()
    counts = np.bincount(run.batches[run.batches >= 0].numpy(), minlength=run.n_train)[truth.removed.numpy()]
    bins = pd.qcut(pd.Series(counts).rank(method="first"), BINS, labels=False).to_numpy()
    rows = []
    for name in compared():
        try:
            predicted = true if name == GROUND_TRUTH else _predicted(truth, name, workload)
        except SamattrError:
            continue
        scale = (predicted * true).sum() / (predicted**2).sum()
        for i in range(BINS):
            part = bins == i
            rows.append(
                {
                    "method": name,
                    "bin": i + 1,
                    "count": counts[part].mean(),
                    "spearman": spearman_per_query(predicted[part], true[part]).mean(),
                    "error": relative_error(scale * predicted[part], true[part]),
                }
            )
    return pd.DataFrame(rows)


def _predicted(truth: Truth, name: str, workload: Workload) -> np.ndarray:
    scores = attribute(truth.run, name, truth.run.splits.queries, **chosen_options(name, workload))
    return on_removed(scores.values, truth)


CASES = {
    "desk": [replace(case, settings={"sampling": "replacement", "steps": 100}) for case in DESK],
    "paper": [replace(case, settings={**case.settings, "sampling": "replacement"}) for case in PAPER],
}
