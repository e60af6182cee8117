"""Question 3: variants of SAM, each attributed by the same methods with its own derivatives, against its own truth."""

import pandas as pd

from baselines.studies.agreement import sweep
from baselines.studies.cases import DESK, over
from samattr_ref.sam.variants import VARIANTS
from samattr_ref.training import train
from samattr_ref.workload import Workload

COMPARED = ("sam-unrolled", "sam-hif-implicit", "sam-hif", "sam-if", "sam-gif", "if")


def measure(workload: Workload, variant: str) -> pd.DataFrame:
    """The methods on the workload trained with a variant, at a radius that suits it; options as chosen for SAM."""
    varied = workload.override(variant=variant, rho=workload.recipe.rho * VARIANTS[variant].radius)
    frame = pd.DataFrame(sweep(workload, COMPARED, varied))
    run = train(varied)
    return frame.assign(variant=variant, accuracy=run.accuracy(run.splits.validation))


CASES = {"beyond": over(DESK, "variant", tuple(VARIANTS))}
