"""Exact retraining: a chunk of leave-one-out, by every engine."""

import torch

from baselines.engines import plan_retraining, retrain
from baselines.measure import seconds
from benchmarks.common import WORKLOADS, run_of

POINTS = 64
ENGINES = ["stacked", "compiled", "batched"]


class Retraining:
    params = [WORKLOADS, ENGINES]
    param_names = ["workload", "engine"]
    number = 1
    timeout = 300

    def setup(self, workload, engine):
        self.run = run_of(workload)
        self.groups = [torch.tensor([k]) for k in range(POINTS)]
        retrain(self.run, self.groups, engine)  # compiles

    def time_retraining(self, workload, engine):
        retrain(self.run, self.groups, engine).cpu()

    def peakmem_retraining(self, workload, engine):
        retrain(self.run, self.groups, engine)

    def track_over_loop(self, workload, engine):
        """Seconds a retraining beside a looped one, in one process: below 1 the engine wins."""
        few = self.groups[:4]
        together = seconds(lambda: retrain(self.run, self.groups, engine)) / len(self.groups)
        return together / (seconds(lambda: retrain(self.run, few, "loop")) / len(few))

    track_over_loop.unit = "ratio"

    def track_rounding(self, workload, engine):
        """How far the engine and looped retraining end apart, relative to the parameters."""
        together, looped = retrain(self.run, self.groups, engine)[:4], retrain(self.run, self.groups[:4], "loop")
        return float((together - looped).norm() / looped.norm())

    track_rounding.unit = "relative error"


class Planning:
    params = WORKLOADS
    param_names = ["workload"]
    number = 1

    def setup(self, workload):
        self.run = run_of(workload)

    def time_plan(self, workload):
        plan_retraining(self.run, self.run.n_train)
