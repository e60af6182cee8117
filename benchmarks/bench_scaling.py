"""Time and memory of every hot path as one size of the problem grows, and how far its numbers are from float64's.

The first parameter of a benchmark is its axis in `samattr_ref.growth.AXES`; of `paths` in `baselines.studies.growth`,
those whose cost grows in it are there. Paths that walk the run, that solve a system and that pass once over the points
each have sizes of their own, at which what grows outweighs what a call costs at any size. Rounds are spread over the
whole session, since a machine that others share is slow for seconds at a time.
"""

from collections.abc import Callable, Iterable
from typing import Any

# seconds of imports, which torch puts off to the first derivative, are taken once, before asv forks
import torch._decomp.decompositions_for_jvp
import torch._dynamo  # noqa: F401
from torch import Tensor

from baselines import metrics
from baselines.studies.growth import paths
from benchmarks.common import hot_path, in_float64, in_units, mean_query, n_parameters, problem
from samattr_ref import Family, Workload, train

PATHS = paths()
STEPS = [name for name, path in PATHS.items() if path.growth.T > 0]
SOLVES = [name for name, path in PATHS.items() if name not in STEPS and path.family is Family.IMPLICIT]
PASSES = [name for name in PATHS if name not in (*STEPS, *SOLVES)]
DIRECTIONS = [name for name in STEPS if PATHS[name].carries]
"""The paths that carry something for each query, or removed group, through every step."""

WIDTHS = {n_parameters(width): width for width in (512, 1024, 2048, 4096)}
EPOCHS, BATCH = 2, 100
GROUPS = 4


def growing_in(axis: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if PATHS[name].growth.exponent(axis) > 0]


class _Scaling:
    params: list[list[Any]]
    number = 1
    rounds = 3
    warmup_time = 0
    repeat = (2, 4, 1.0)
    timeout = 300

    def setup_cache(self) -> None:
        """Every run of the file is trained in a process of its own: a peak of memory counts what came before it."""
        for grid in GRIDS:
            for size in grid.params[0]:
                train(grid().problem(size), "all")

    def setup(self, size: int, path: str) -> None:
        if not hasattr(self, "run"):  # what a first call maps and builds is the process's cost, not the path's
            self._begin(size, path)
            self.call()
        del self.run, self.call
        self._begin(size, path)

    def problem(self, size: int) -> Workload:
        raise NotImplementedError

    def _begin(self, size: int, path: str) -> None:
        self.run = train(self.problem(size), "all")
        assert self.run.objective.chain is not None  # tried outside of the time
        self.call = self.path(size, path)

    def path(self, size: int, path: str) -> Callable[[], Tensor]:
        return hot_path(path, self.run, mean_query(path, self.run), GROUPS)

    def time_path(self, size: int, path: str) -> None:
        self.call().cpu()  # not before a GPU is done

    def peakmem_path(self, size: int, path: str) -> None:
        self.call()


class PointsOfSteps(_Scaling):
    """n, at a fixed number of epochs."""

    params = [[2000, 4000, 8000, 16000, 32000], growing_in("n", STEPS)]
    param_names = ["n", "path"]

    def problem(self, size: int) -> Workload:
        return problem(size, steps=EPOCHS * size // BATCH, batch_size=BATCH)


class PointsOfSolves(_Scaling):
    params = [[2000, 4000, 8000, 16000, 32000], growing_in("n", SOLVES)]
    param_names = ["n", "path"]

    def problem(self, size: int) -> Workload:
        return problem(size, steps=2, batch_size=size)


class PointsOfPasses(_Scaling):
    """n, at a fixed number of checkpoints that each stand for a whole epoch."""

    params = [[8000, 16000, 32000, 64000, 128000], growing_in("n", PASSES)]
    param_names = ["n", "path"]

    def problem(self, size: int) -> Workload:
        return problem(size, 1024, steps=4, batch_size=size)


class Parameters(_Scaling):
    """P, by the width of the hidden layer."""

    params = [list(WIDTHS), growing_in("P", [*STEPS, *SOLVES])]
    param_names = ["P", "path"]

    def problem(self, size: int) -> Workload:
        return problem(500, WIDTHS[size], steps=4, batch_size=500)


class ParametersOfPasses(Parameters):
    params = [list(WIDTHS), growing_in("P", PASSES)]

    def problem(self, size: int) -> Workload:
        return problem(5000, WIDTHS[size], steps=4, batch_size=5000)


class Steps(_Scaling):
    params = [[50, 100, 200, 400], growing_in("T", STEPS)]
    param_names = ["T", "path"]

    def problem(self, size: int) -> Workload:
        return problem(500, 32, size, 50)


class _Options(_Scaling):
    option = ""

    def path(self, size: int, path: str) -> Callable[[], Tensor]:
        return hot_path(path, self.run, mean_query(path, self.run), **{self.option: size})


class Checkpoints(_Options):
    """C, each standing for an epoch or more, so that every point is visited at each."""

    params = [[5, 10, 20, 40], growing_in("C", PATHS)]
    param_names = ["C", "path"]
    option = "checkpoints"

    def problem(self, size: int) -> Workload:
        return problem(4000, steps=80, batch_size=2000)


class Order(_Options):
    """J of the Neumann series."""

    params = [[10, 20, 40, 80], growing_in("J", PATHS)]
    param_names = ["J", "path"]
    option = "order"

    def problem(self, size: int) -> Workload:
        return problem(2000)


class Queries(_Scaling):
    """Q, the queries that are scored apart, of paths that take one backward pass for each."""

    params = [
        [1024, 2048, 4096, 8192],
        [name for name in growing_in("Q", PATHS) if name not in (*DIRECTIONS, *SOLVES)],
    ]
    param_names = ["Q", "path"]

    def problem(self, size: int) -> Workload:
        return problem(500, steps=10, n_validation=size)

    def path(self, size: int, path: str) -> Callable[[], Tensor]:
        return hot_path(path, self.run, self.run.splits.validation, size)


class QueriesOfSteps(Queries):
    params = [[128, 256, 512, 1024], growing_in("Q", DIRECTIONS)]

    def problem(self, size: int) -> Workload:
        return problem(1024, 32, steps=10, n_validation=size)


class QueriesOfSolves(Queries):
    params = [[32, 64, 128, 256], growing_in("Q", SOLVES)]

    def problem(self, size: int) -> Workload:
        return problem(500, 64, steps=2, n_validation=size)


GRIDS = (
    PointsOfSteps,
    PointsOfSolves,
    PointsOfPasses,
    Parameters,
    ParametersOfPasses,
    Steps,
    Checkpoints,
    Order,
    Queries,
    QueriesOfSteps,
    QueriesOfSolves,
)


class Precision:
    """Float32 against float64, from the same states of the run."""

    params = [[1000, 8000], list(PATHS)]
    param_names = ["n", "path"]
    timeout = 300

    def setup(self, n: int, path: str) -> None:
        self.run = train(problem(n, steps=EPOCHS * n // BATCH, batch_size=BATCH), "all")

    @in_units("relative error")
    def track_relative_error(self, n: int, path: str) -> float:
        single, double = (hot_path(path, run, mean_query(path, run))() for run in (self.run, in_float64(self.run)))
        return metrics.relative_error(single.double().cpu().numpy(), double.cpu().numpy())
