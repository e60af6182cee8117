"""Exact retraining: a chunk of leave-one-out, by every engine."""

import torch

from baselines.engines import Engine, retrain
from baselines.planning import plan_retraining
from benchmarks.common import WORKLOADS, in_units, run_of
from samattr_ref.support.timing import timed

POINTS = 64
ENGINES: list[Engine] = ["stacked", "compiled", "batched"]


class Retraining:
    params = [WORKLOADS, ENGINES]
    param_names = ["workload", "engine"]
    number = 1
    timeout = 300

    def setup(self, workload: str, engine: Engine) -> None:
        self.run = run_of(workload)
        self.groups = [torch.tensor([k]) for k in range(POINTS)]
        retrain(self.run, self.groups, engine)  # compiles

    def time_retraining(self, workload: str, engine: Engine) -> None:
        retrain(self.run, self.groups, engine).cpu()

    def peakmem_retraining(self, workload: str, engine: Engine) -> None:
        retrain(self.run, self.groups, engine)

    @in_units("ratio")
    def track_over_loop(self, workload: str, engine: Engine) -> float:
        """Seconds a retraining beside a looped one, in one process: below 1 the engine wins."""
        few = self.groups[:4]
        together = timed(lambda: retrain(self.run, self.groups, engine)).seconds / len(self.groups)
        return together / (timed(lambda: retrain(self.run, few, "loop")).seconds / len(few))

    @in_units("relative error")
    def track_rounding(self, workload: str, engine: Engine) -> float:
        """How far the engine and looped retraining end apart, relative to the parameters."""
        together, looped = retrain(self.run, self.groups, engine)[:4], retrain(self.run, self.groups[:4], "loop")
        return float((together - looped).norm() / looped.norm())


class Planning:
    params = WORKLOADS
    param_names = ["workload"]
    number = 1

    def setup(self, workload: str) -> None:
        self.run = run_of(workload)

    def time_plan(self, workload: str) -> None:
        plan_retraining(self.run, self.run.n_train)
