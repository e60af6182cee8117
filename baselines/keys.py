"""What results are found again by: the values that they depend on, and the source that they go through."""

import inspect

from baselines.comparison import METRICS
from samattr_ref.registry import Method
from samattr_ref.support.fingerprint import fingerprint
from samattr_ref.support.registered import is_own
from samattr_ref.support.seeds import json_digest, tensor_digest
from samattr_ref.support.source import reach
from samattr_ref.workload import Workload


def workload_digest(workload: Workload) -> str:
    """The hash of all that a result on a workload depends on, beside what computes it: its sets and its training."""
    splits = workload.splits
    sets = [tensor_digest(part.x, part.y) for part in (splits.queries, splits.tuning, splits.validation)]
    labels = [tensor_digest(splits.noisy), *([] if splits.clean is None else [tensor_digest(splits.clean)])]
    removed = workload.n_removed, workload.removed
    return json_digest([workload.key(), workload.name, removed, sets, labels])


def is_ours(method: Method) -> bool:
    """Whether a method comes with the project: what other code computes is never taken from the store."""
    function = method.function
    return inspect.isfunction(function) and is_own(function.__module__) and is_own(function.__globals__["__name__"])


def method_digest(method: Method) -> str:
    """The hash of a method's code: of the project's its source, of any other what it holds and runs."""
    return reach(method.function.__module__).digest if is_ours(method) else fingerprint(method).digest


def metrics_digest() -> str:
    """The hash of the metrics of other packages; those of the project are in the source of what compares by them."""
    others = [metric for metric in METRICS.values() if not is_own(getattr(metric.function, "__module__", __name__))]
    return fingerprint(others).digest
