"""The exact derivative of the run: cost in plain trainings, memory of long runs, what bounded memory costs more."""

from collections.abc import Callable

import torch

from baselines.studies.plain import plain_training
from benchmarks.common import WORKLOADS
from samattr_ref import attribute, load_workload, parameter_change, train
from samattr_ref.support.timing import timed

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
        self.plain = plain_training(self.run).seconds
        attribute(self.run, "sam-unrolled", self.run.splits.tuning.take(torch.arange(1)))

    def track_mean_query(self, workload: str, kept: str) -> float:
        return self._trainings(lambda: attribute(self.run, "sam-unrolled", self.run.splits.queries.pool()))

    def track_many_queries(self, workload: str, kept: str) -> float:
        queries = self.run.splits.validation.take(torch.arange(MANY))
        return self._trainings(lambda: attribute(self.run, "sam-unrolled", queries))

    def track_forward_mode(self, workload: str, kept: str) -> float:
        return self._trainings(lambda: parameter_change(self.run, "sam-unrolled", [range(10)]))

    def _trainings(self, call: Callable[[], object]) -> float:
        return timed(call).seconds / self.plain


class LongRun:
    """A run of many steps with few states kept."""

    timeout = 300
    number = 1

    def setup(self) -> None:
        self.run = train(load_workload("digits-mlp").override(steps=LONG), "sqrt")

    def peakmem_mean_query(self) -> None:
        attribute(self.run, "sam-unrolled", self.run.splits.queries.pool())
