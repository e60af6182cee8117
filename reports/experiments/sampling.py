"""Agreement against how often a point was sampled: is SAM-GIF noisy for points that were rarely in a batch?"""

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from baselines.agreement import chosen_options
from baselines.metrics import relative_error, spearman_per_query
from baselines.truth import Truth, leave_one_out
from baselines.validation import GROUND_TRUTH
from reports.curves import BAND, describe, draw_curves, tabulate_curves
from reports.experiment import DESK, PAPER, Experiment
from reports.results import COMPARED
from samattr_ref.attribution import attribute
from samattr_ref.support.errors import SamattrError
from samattr_ref.training import train
from samattr_ref.workload import Workload

BINS = 5
METRICS = {
    "spearman": "per-query Spearman\nwith exact LOO",
    "error": "error of the effect,\nat the best scale",
}


def measure(workload: Workload) -> pd.DataFrame:
    """Agreement within groups of points that were sampled about equally often."""
    run = train(workload)
    truth = leave_one_out(run)
    true = truth.values.double().cpu().numpy()
    counts = np.bincount(run.batches[run.batches >= 0].numpy(), minlength=run.n_train)[truth.removed.numpy()]
    bins = pd.qcut(pd.Series(counts).rank(method="first"), BINS, labels=False).to_numpy()
    rows = []
    for name in COMPARED:
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
    return scores.values[truth.removed].double().cpu().numpy()


def draw(frame: pd.DataFrame) -> Figure:
    """Spearman and error over the number of times that points were sampled."""
    means = frame.groupby(["workload", "bin"])["count"].transform("mean").round(2)
    return draw_curves(frame.assign(count=means), "count", "times that a point was in a batch", METRICS)


def tabulate(frame: pd.DataFrame) -> pd.DataFrame:
    """Error in each fifth of the points, the rarest first."""
    return tabulate_curves(frame, "bin", "fifth", "error")


def caption(frame: pd.DataFrame) -> str:
    """What is shown."""
    return (
        f"Batches drawn with replacement; points in {BINS} groups by how often they were in one ({describe(frame)}; "
        f"{BAND}). Upper: rank agreement within the group. Lower and table: ‖predicted − true‖/‖true‖ of the effects "
        "of the group, each method at the one scale that is best for all points, so that only the shape of its "
        "prediction counts. Black: exact LOO."
    )


EXPERIMENT = Experiment(
    name="sampling",
    title="How often a point was sampled",
    measure=measure,
    cases={
        "desk": [replace(case, settings={"sampling": "replacement", "steps": 100}) for case in DESK],
        "paper": [replace(case, settings={**case.settings, "sampling": "replacement"}) for case in PAPER],
    },
    draw=draw,
    caption=caption,
    tabulate=tabulate,
)
