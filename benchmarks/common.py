"""What the benchmarks share: workloads, methods, made-up problems of any size, the ground truth that is on disk."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from baselines.engines import retrain
from baselines.studies.growth import paths
from baselines.studies.profiles import PROFILES
from baselines.truth import Truth, find_leave_one_out
from samattr_ref import Run, attribute, load_workload, methods, parameter_change, train
from samattr_ref.data import Examples, Sizes, Splits
from samattr_ref.data.sizes import make_splits
from samattr_ref.network.models import MLP
from samattr_ref.recipe import SamRecipe
from samattr_ref.support.fingerprint import fingerprint
from samattr_ref.support.seeds import stream
from samattr_ref.training import advance
from samattr_ref.trajectory import last
from samattr_ref.workload import Workload

F = TypeVar("F", bound=Callable[..., Any])

WORKLOADS = list(PROFILES["quick"].workloads)
METHODS = list(methods())
WITH_CHANGE = [name for name, method in methods().items() if method.change is not None]
OPTIONS = {"curvature": "gauss-newton", "damping": 0.01}
"""Fixed options, so that a track moves when the code does and not when a grid search lands elsewhere."""

CLASSES, PIXELS = 10, 8


@dataclass(frozen=True, kw_only=True)
class MadeUp(Sizes):
    """Noisy images of as many classes as the digits have and of their shape, as many as are asked for."""

    def load(self, seed: int) -> Splits:
        """The sets for that seed, inputs [b, 1, 8, 8]."""
        counts = [self.n_train, self.n_query, self.n_tuning, self.n_validation]
        generator = stream(seed, "made-up images")
        y = torch.randint(CLASSES, (sum(counts),), generator=generator)
        means = torch.randn(CLASSES, 1, PIXELS, PIXELS, generator=generator)
        x = torch.randn(sum(counts), 1, PIXELS, PIXELS, generator=generator)
        x.add_(means[y]).div_(PIXELS)  # in place: a peak of memory counts it
        examples = map(Examples, x.split(counts), y.split(counts))
        return make_splits(self, list(examples), CLASSES, seed)


def problem(
    n: int = 1000, width: int = 256, steps: int = 20, batch_size: int = 100, n_validation: int = 100
) -> Workload:
    """A network of one hidden layer on made-up images; steps so short that its curvature is the same at every size."""
    data = MadeUp(n_train=n, n_query=10, n_tuning=1, n_validation=n_validation, noise=None)
    recipe = SamRecipe(steps=steps, batch_size=batch_size, learning_rate=0.001)
    return Workload("made-up", data, MLP((width,)), recipe)


def n_parameters(width: int) -> int:
    """P of the network of a `problem`.

    >>> n_parameters(32)
    2410
    """
    return (PIXELS**2 + 1 + CLASSES) * width + CLASSES


def hot_path(name: str, run: Run, queries: Examples, n_groups: int = 1, **settings: Any) -> Callable[[], Tensor]:
    """What one of `baselines.studies.growth.paths` computes, as a call.

    Args:
        name: Its name.
        run: The run.
        queries: The queries of a method; one pooled one where its scores are linear and the mean is wanted.
        n_groups: How many points are removed, one at a time, where parameters are computed and not scores.
        **settings: Options of the method, in the place of the path's.
    """
    groups = [torch.tensor([k]) for k in range(n_groups)]
    if name == "training":
        return lambda: last(advance(run, run.kept_state(0), 0, run.n_steps))[1].omega
    if name == "retraining":
        return lambda: retrain(run, groups)
    path = paths()[name]
    method, options = path.method, {**path.options, **settings}
    assert method is not None  # as of training and retraining alone
    if path.change:
        return lambda: parameter_change(run, method.name, groups, **options)
    return lambda: attribute(run, method.name, queries, **options).values


def mean_query(name: str, run: Run) -> Examples:
    """The queries as one, or the validation set of a method whose scores are not linear, for which they stay apart."""
    method = paths()[name].method
    return run.splits.validation if method and not method.linear else run.splits.queries.pool()


def options(method: str) -> dict[str, Any]:
    """The benchmark's options of a method: those of `OPTIONS` that it has."""
    return methods()[method].having(OPTIONS)


def in_float64(run: Run) -> Run:
    """The run as it is, its network the same one, with everything that follows from it computed in float64."""
    workload = replace(run.workload, dtype="float64")
    tensors: dict[str, Any] = {
        name: tensor.double() for name, tensor in run.tensors().items() if tensor.is_floating_point()
    }
    return replace(run, workload=workload, network=fingerprint(workload.build()[0].module).digest, **tensors)


def run_of(workload: str) -> Run:
    return train(load_workload(workload))


def in_units(unit: str) -> Callable[[F], F]:
    """Say what a tracked number is in, as asv reads it."""

    def said(track: F) -> F:
        track.unit = unit  # type: ignore[attr-defined]
        return track

    return said


def stored_truth(workload: str) -> Truth:
    """The ground truth in the store; benchmarks find it and do not make it.

    Raises:
        NotImplementedError: if there is none, which asv reports as skipped.
    """
    truth = find_leave_one_out(run_of(workload))
    if truth is None:
        raise NotImplementedError(f"no ground truth on disk: samattr truth {workload}")
    return truth
