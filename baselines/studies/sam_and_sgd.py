"""Networks trained with SAM and with plain SGD, attributed by the same methods: does it matter that SAM was used?"""

from dataclasses import replace

import pandas as pd

from baselines.studies.agreement import agreement, chosen_options
from baselines.studies.cases import DESK, PAPER, over
from baselines.studies.chosen import compared
from baselines.truth import leave_one_out
from baselines.validation import GROUND_TRUTH
from samattr_ref.training import train
from samattr_ref.workload import Workload

OPTIMISERS = ("SAM", "SGD")


def measure(workload: Workload, optimiser: str) -> pd.DataFrame:
    """Every method, told the workload's ρ, on a network that was trained with it (`SAM`) or with ρ = 0 (`SGD`)."""
    run = train(workload if optimiser == "SAM" else workload.override(rho=0.0))
    truth, told = leave_one_out(run), replace(run, workload=workload)
    rows = []
    for name in compared():
        options = {} if name == GROUND_TRUTH else chosen_options(name, workload)
        rows.append({"method": name, **agreement(truth, name, options, told)})
    return pd.DataFrame(rows).assign(optimiser=optimiser)


CASES = {"desk": over(DESK, "optimiser", OPTIMISERS), "paper": over(PAPER, "optimiser", OPTIMISERS)}
