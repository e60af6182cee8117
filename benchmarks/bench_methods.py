"""Every method: time and memory of scoring, and how far its scores are from the ground truth on disk."""

from baselines import metrics
from benchmarks.common import METHODS, WITH_CHANGE, WORKLOADS, options, run_of, stored_truth
from samattr_ref import attribute, parameter_change


class Scoring:
    params = [WORKLOADS, METHODS]
    param_names = ["workload", "method"]
    number = 1
    timeout = 300

    def setup(self, workload: str, method: str) -> None:
        self.run = run_of(workload)
        self.queries = self.run.splits.queries
        attribute(self.run, method, self.run.splits.tuning, **options(method))  # torch warms up at the first use

    def time_attribute(self, workload: str, method: str) -> None:
        attribute(self.run.fresh(), method, self.queries, **options(method)).values.cpu()

    def peakmem_attribute(self, workload: str, method: str) -> None:
        attribute(self.run.fresh(), method, self.queries, **options(method))


class Fidelity:
    params = [WORKLOADS, METHODS]
    param_names = ["workload", "method"]
    timeout = 300

    def setup(self, workload: str, method: str) -> None:
        self.truth = stored_truth(workload)
        self.scores = attribute(self.truth.run, method, **options(method)).values[self.truth.removed].cpu().numpy()

    def track_one_minus_spearman(self, workload: str, method: str) -> float:
        return float(1 - metrics.spearman_per_query(self.scores, self.truth.values.cpu().numpy()).mean())

    def track_one_minus_pearson(self, workload: str, method: str) -> float:
        return float(1 - metrics.pearson_per_query(self.scores, self.truth.values.cpu().numpy()).mean())


class ChangeError:
    params = [WORKLOADS, WITH_CHANGE]
    param_names = ["workload", "method"]
    timeout = 300

    def setup(self, workload: str, method: str) -> None:
        self.truth = stored_truth(workload)

    def track_relative_error(self, workload: str, method: str) -> float:
        groups = self.truth.groups[:50]
        change = parameter_change(self.truth.run, method, groups, **options(method))
        return metrics.relative_error(change.cpu().numpy(), self.truth.changes[:50].cpu().numpy())
