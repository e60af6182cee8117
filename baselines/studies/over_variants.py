"""Question 3: variants of SAM, each attributed by the same methods with its own derivatives, against its own truth."""

import pandas as pd

from baselines.studies.agreement import sweep
from baselines.studies.cases import DESK, over
from samattr_ref.sam.variants import VARIANTS
from samattr_ref.training import train
from samattr_ref.workload import Workload

COMPARED = ("sam-unrolled", "sam-hif-implicit", "sam-hif", "sam-if", "sam-gif", "if")
RADII = {"asam": 10.0}
"""The radius beside the workload's own: ASAM's is in units of the parameters' size, ten times SAM's in its paper."""


def measure(workload: Workload, variant: str) -> pd.DataFrame:
    """The methods on the workload trained with a variant; options as chosen for SAM."""
    varied = workload.override(variant=variant, rho=workload.recipe.rho * RADII.get(variant, 1.0))
    frame = pd.DataFrame(sweep(workload, COMPARED, varied))
    run = train(varied)
    return frame.assign(variant=variant, accuracy=run.accuracy(run.splits.validation))


CASES = {"beyond": over(DESK, "variant", tuple(VARIANTS))}
