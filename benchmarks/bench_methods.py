"""Every method: time and memory of scoring, and how far its scores are from the ground truth on disk."""

from collections.abc import Callable

from torch import Tensor

from baselines.comparison import METRICS, Array, Comparison, Metric
from benchmarks.common import METHODS, WITH_CHANGE, WORKLOADS, options, run_of, stored_truth
from samattr_ref import attribute, influence_score, parameter_change

TRACKED = [metric for metric in METRICS.values() if metric.tracked]


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
        truth = stored_truth(workload)
        scores = attribute(truth.run, method, **options(method)).values[truth.removed]
        influence = {}
        if any(metric.needs == "influence" for metric in TRACKED):
            found = influence_score(truth.run, method, truth.run.splits.validation, **options(method))
            influence = {"influence": numpy(found), "noisy": truth.run.splits.noisy.cpu().numpy()}
        self.comparison = Comparison(numpy(scores), numpy(truth.values), **influence)


class ChangeError:
    params = [WORKLOADS, WITH_CHANGE]
    param_names = ["workload", "method"]
    timeout = 300

    def setup(self, workload: str, method: str) -> None:
        truth = stored_truth(workload)
        true = truth.first_changes(50)
        if true is None:
            raise NotImplementedError(f"no changes of parameters on disk: samattr truth {workload}")
        scores = attribute(truth.run, method, **options(method)).values[truth.removed]
        changes = parameter_change(truth.run, method, truth.groups[:50], **options(method))
        self.comparison = Comparison(
            numpy(scores), numpy(truth.values), changes=numpy(changes), true_changes=numpy(true)
        )


def numpy(values: Tensor) -> Array:
    return values.double().cpu().numpy()


def tracking(metric: Metric) -> Callable[..., float]:
    """A track of how far a metric is from its best value, since asv flags steps upwards alone."""

    def track(self: Fidelity | ChangeError, workload: str, method: str) -> float:
        return metric.loss(metric.mean_of(self.comparison))

    return track


for _metric in TRACKED:
    _of = ChangeError if _metric.needs == "changes" else Fidelity
    setattr(_of, f"track_{_metric.loss_name}", tracking(_metric))
