"""The implicit forms with one full-batch perturbation, and as a mean over the run's last batches, each with its own."""

import pandas as pd

from baselines.studies.agreement import sweep
from baselines.studies.cases import DESK, over
from samattr_ref.workload import Workload

FORMS = ("sam-if", "sam-hif", "sam-hif-implicit")
RADII = (0.02, 0.05, 0.1, 0.2, 0.5)
EPOCHS = 1
BY_BATCH = "by batch"


def measure(workload: Workload, rho: float) -> pd.DataFrame:
    """Each form with the full-batch ê, and by batch over the last epoch, at one ρ."""
    varied = workload.override(rho=rho)
    size = workload.recipe.batch_size or len(workload.splits.train)
    batches = EPOCHS * -(-len(workload.splits.train) // size)
    by_batch = pd.DataFrame(sweep(workload, FORMS, varied, {"batches": batches}))
    whole = pd.DataFrame(sweep(workload, ("loo", *FORMS), varied))
    return pd.concat([whole.assign(how=""), by_batch.assign(how=BY_BATCH)]).assign(rho=rho)


CASES = {"beyond": over(DESK, "rho", RADII)}
