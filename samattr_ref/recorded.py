"""Recipes of runs that were trained elsewhere: their steps are known as they were, or not at all."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from samattr_ref.recipe import SamRecipe
from samattr_ref.support.errors import SamattrError, TrajectoryError
from samattr_ref.support.options import checked
from samattr_ref.support.seeds import tensor_digest


@dataclass(frozen=True, eq=False)
class Steps:
    """The steps of a run as they were taken.

    Attributes:
        batches: The points of each, int64 [T, B], padded with −1.
        step_sizes: η_t, float64 [T].
    """

    batches: Tensor
    step_sizes: Tensor

    @cached_property
    def digest(self) -> str:
        """SHA-256 of both."""
        return tensor_digest(self.batches, self.step_sizes)

    def __repr__(self) -> str:
        return f"Steps({self.digest})"  # by which a run of them is found again


@checked
@dataclass(frozen=True, kw_only=True)
class RecordedRecipe(SamRecipe):
    """A recipe that takes the steps that a user's own loop took.

    A field of it may be replaced, and the same steps are then taken otherwise: another radius, another weight decay;
    another learning rate scales all step sizes.

    Attributes:
        recorded: The steps; `steps`, `batch_size` and `learning_rate` are their number, their most points and their
            largest size, the schedule is theirs.
    """

    recorded: Steps

    def __post_init__(self) -> None:
        super().__post_init__()
        own: dict[str, Any] = {"steps": len(self.recorded.step_sizes), "batch_size": self.recorded.batches.shape[1]}
        own |= {"schedule": "constant", "warmup": 0, "sampling": "epochs"}
        for name, value in own.items():
            if getattr(self, name) != value:
                raise SamattrError(f"{name} of a recorded run cannot be set: its steps are those that were recorded")

    def step_sizes(self) -> Tensor:
        """η_t as recorded, float64 [T]."""
        most = float(self.recorded.step_sizes.max())
        own = self.recorded.step_sizes
        return own if self.learning_rate == most else own * (self.learning_rate / most)

    def batches(self, n: int, seed: int) -> Tensor:
        """The points of every batch as recorded, int64 [T, B].

        Raises:
            SamattrError: for another seed or another number of points than was recorded.
        """
        if seed != 0 or int(self.recorded.batches.max()) >= n:
            raise SamattrError("a recorded run has the points, the start and the batches it had: it has no other seed")
        return self.recorded.batches


def recorded_recipe(rule: SamRecipe, steps: Steps) -> RecordedRecipe:
    """The recipe of steps whose rule is that of another recipe.

    Raises:
        SamattrError: if all step sizes are zero.
    """
    names = ("rho", "p", "momentum", "weight_decay", "variant", "decay")
    own: dict[str, Any] = {name: getattr(rule, name) for name in names}
    most = float(steps.step_sizes.max())
    if not most > 0:
        raise SamattrError("every recorded step size is 0")
    own |= {"steps": len(steps.step_sizes), "batch_size": steps.batches.shape[1], "learning_rate": most}
    return RecordedRecipe(**own, recorded=steps)


@checked
@dataclass(frozen=True)
class UnknownSteps(SamRecipe):
    """A recipe of which the rule is known, and no step: nothing is trained by it."""

    def step_sizes(self) -> Tensor:
        """Unknown.

        Raises:
            TrajectoryError: always.
        """
        raise TrajectoryError

    def batches(self, n: int, seed: int) -> Tensor:
        """Unknown.

        Raises:
            TrajectoryError: always.
        """
        raise TrajectoryError
