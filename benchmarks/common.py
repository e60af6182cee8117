"""What the benchmarks share: workloads, methods, runs and the ground truth that is on disk."""

from baselines.truth import Truth, find_leave_one_out
from samattr_ref import Run, load_workload, methods, train

WORKLOADS = ["digits-logreg", "digits-mlp"]
METHODS = list(methods())
WITH_CHANGE = [name for name, method in methods().items() if method.change is not None]
OPTIONS = {"curvature": "gauss-newton", "damping": 0.01}
"""Fixed options, so that a track moves when the code does and not when a grid search lands elsewhere."""


def options(method: str) -> dict[str, object]:
    """The benchmark's options of a method: those of `OPTIONS` that it has."""
    return {name: value for name, value in OPTIONS.items() if name in methods()[method].options}


def run_of(workload: str) -> Run:
    return train(load_workload(workload))


def stored_truth(workload: str) -> Truth:
    """The ground truth in the store; benchmarks find it and do not make it.

    Raises:
        NotImplementedError: if there is none, which asv reports as skipped.
    """
    truth = find_leave_one_out(run_of(workload))
    if truth is None:
        raise NotImplementedError(f"no ground truth on disk: samattr truth {workload}")
    return truth
