"""Wrong labels found by inspecting the points of lowest Influence Score first, a panel a workload."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from baselines.metrics import noise_curve
from baselines.studies.profiles import Results
from reports.curves import draw_curves


def compute(results: Results) -> pd.DataFrame:
    """One row a workload, method, seed and number of inspected points: `inspected` and `found`, shares in [0, 1]."""
    frames = []
    for result in results.validations:
        noisy = np.array(result.influence["noisy"]) > 0
        if result.metrics["noise_auc"] is not None:
            curve = noise_curve(np.array(result.influence["score"]), noisy)
            frames.append(curve.assign(workload=result.workload, method=result.method, seed=result.seed))
    columns = ["workload", "method", "seed", "inspected", "found"]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def draw(frame: pd.DataFrame) -> Figure:
    """Mean over seeds with its 95 % t-interval, a panel a workload; `random` is what inspecting at random finds."""
    return draw_curves(frame, "inspected", "share inspected", {"found": "share of the\nwrong labels found"})
