"""Exact retraining: a chunk of leave-one-out, batched and looped."""

import time

import torch

from baselines.retraining import retrain
from benchmarks.common import WORKLOADS, run_of

POINTS = 64


class Retraining:
    params = WORKLOADS
    param_names = ["workload"]
    number = 1
    timeout = 300

    def setup(self, workload):
        self.run = run_of(workload)
        self.groups = [torch.tensor([k]) for k in range(POINTS)]

    def time_batched(self, workload):
        retrain(self.run, self.groups)

    def peakmem_batched(self, workload):
        retrain(self.run, self.groups)

    def track_batched_over_loop(self, workload):
        """Seconds a batched retraining beside a looped one, in one process: below 1 batching wins."""
        seconds = []
        for engine, groups in (("batched", self.groups), ("loop", self.groups[:2])):
            retrain(self.run, groups[:2], engine)
            began = time.perf_counter()
            retrain(self.run, groups, engine)
            seconds.append((time.perf_counter() - began) / len(groups))
        return seconds[0] / seconds[1]

    track_batched_over_loop.unit = "ratio"

    def track_rounding(self, workload):
        """How far batched and looped retraining end apart, relative to the parameters."""
        batched, looped = retrain(self.run, self.groups[:4]), retrain(self.run, self.groups[:4], "loop")
        return float((batched - looped).norm() / looped.norm())

    track_rounding.unit = "relative error"
