"""The exact derivative of the run: cost in plain trainings, memory of long runs, what bounded memory costs more."""

import torch

from baselines.measure import seconds
from baselines.studies.plain import train_plainly
from benchmarks.common import WORKLOADS
from samattr_ref import attribute, load_workload, parameter_change, train

MANY = 64
LONG = 10_000


class Trainings:
    """Cost in plain trainings, side by side in one process."""

    params = [WORKLOADS, ["all", "sqrt"]]
    param_names = ["workload", "states kept"]
    timeout = 300
    unit = "plain trainings"

    def setup(self, workload: str, kept: str) -> None:
        self.run = train(load_workload(workload), kept)
        self.plain = min(seconds(lambda: train_plainly(self.run)) for _ in range(3))
        attribute(self.run, "sam-unrolled", self.run.splits.tuning.take(torch.arange(1)))

    def track_mean_query(self, workload: str, kept: str) -> float:
        return seconds(lambda: attribute(self.run, "sam-unrolled", self.run.splits.queries.pool())) / self.plain

    def track_many_queries(self, workload: str, kept: str) -> float:
        queries = self.run.splits.validation.take(torch.arange(MANY))
        return seconds(lambda: attribute(self.run, "sam-unrolled", queries)) / self.plain

    def track_forward_mode(self, workload: str, kept: str) -> float:
        return seconds(lambda: parameter_change(self.run, "sam-unrolled", [range(10)])) / self.plain


class LongRun:
    """A run of many steps with few states kept."""

    timeout = 300
    number = 1

    def setup(self) -> None:
        self.run = train(load_workload("digits-mlp").override(steps=LONG), "sqrt")

    def peakmem_mean_query(self) -> None:
        attribute(self.run, "sam-unrolled", self.run.splits.queries.pool())
