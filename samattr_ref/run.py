"""A Run: everything that a training run leaves behind for attribution to work on."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from samattr_ref.data import Examples, Splits
from samattr_ref.network.functionals import LOSS, Functional
from samattr_ref.network.network import Ways
from samattr_ref.network.objective import Objective
from samattr_ref.network.sample_gradients import SampleGradients
from samattr_ref.network.trial import Trial, noisy, spread
from samattr_ref.sam.step import State
from samattr_ref.sam.variants import Draw
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.fingerprint import fingerprint
from samattr_ref.support.seeds import tensor_digest
from samattr_ref.support.timing import Timing
from samattr_ref.workload import Workload


@dataclass(frozen=True, eq=False)
class Run:
    """One SAM training run.

    Attributes:
        workload: What was trained.
        key: Hash of all that the run depends on.
        parameters: Final parameters ω* = ω_T, shape [P].
        batches: Points of each batch, int64 [T, B], padded with −1.
        step_sizes: η_t, float64 [T].
        checkpoint_steps: The steps t whose state ω_t (before step t) is kept, ascending from 0, int64 [C].
        checkpoints: Those ω_t, shape [C, P].
        velocities: The momentum buffers beside them, shape [C, P]; [C, 0] without momentum.
        memories: The memories of a variant that has one beside them, shape [C, P]; else [C, 0].
        environment: Versions and hardware it was trained with, the seconds it took and their load.
        origin: The workload's key when it was trained: what is made of the run is found again by it.
        network: The digest of its network, as it was built.
        ways: How its network was called, as was proved right at its start and its end.
        built: Its network, tried once: copies of the run share it.
        stepwise: Whether every step of it is known; if not, its states are a few checkpoints, or ω* alone.
        cache: What methods computed about the run and may use again; `fresh` and
            `dataclasses.replace` start an empty one.
    """

    stepwise: ClassVar[bool] = True
    workload: Workload
    key: str
    parameters: Tensor
    batches: Tensor
    step_sizes: Tensor
    checkpoint_steps: Tensor
    checkpoints: Tensor
    velocities: Tensor
    memories: Tensor
    environment: dict[str, Any]
    origin: str
    network: str
    ways: Ways
    built: dict[int, tuple[Workload, Objective]] = field(default_factory=dict, repr=False)
    cache: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    @staticmethod
    def from_state_dict(*given: Any, **settings: Any) -> "Run":
        """A run of a network that is known by its weights alone, see `samattr_ref.from_state_dict`."""
        from samattr_ref.known_states import from_state_dict  # which builds on this class

        return from_state_dict(*given, **settings)

    @property
    def timing(self) -> Timing:
        """How long training took."""
        return Timing(self.environment["seconds"], self.environment.get("load"))

    def fresh(self) -> "Run":
        """Copy the run without what methods have computed about it."""
        return replace(self)

    @cached_property
    def splits(self) -> Splits:
        """The workload's sets."""
        return self.workload.splits

    @property
    def train(self) -> Examples:
        """The training points, labels as trained on."""
        return self.splits.train

    @property
    def n_train(self) -> int:
        """The number n of training points."""
        return len(self.train)

    @property
    def n_steps(self) -> int:
        """The number T of steps."""
        return len(self.step_sizes)

    @cached_property
    def objective(self) -> Objective:
        """The training loss on flat parameters.

        Raises:
            SamattrError: if the workload's model is no longer the one that was trained.
        """
        key = id(self.workload)  # which is held, so that no other comes to have it
        if key not in self.built:
            self.built[key] = self.workload, self._objective()
        return self.built[key][1]

    def _objective(self) -> Objective:
        objective, initial = self.workload.build()
        built = fingerprint(objective.module)
        if not built.unkeyed and built.digest != self.network:
            raise SamattrError(
                f"the model of {self.workload.name} builds another network than the one that was trained: train again"
            )
        objective.network.ways = self.ways
        points = spread(self.train.x, self.train.y)
        omegas = noisy(objective.layout, initial), self.parameters
        objective.try_at(Trial(objective.network, self.train.x[points], self.train.y[points], omegas))
        return objective

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what was trained, bit for bit: training points, batches, step sizes and final parameters."""
        return tensor_digest(self.train.x, self.train.y, self.batches, self.step_sizes, self.parameters)

    def kept_state(self, i: int) -> State:
        """The state at the i-th step that is kept."""
        omega = self.checkpoints[i]
        velocity = self.velocities[i] if self.velocities.shape[1] else torch.zeros_like(omega)
        return State(omega, velocity, self.memories[i])

    def batch(self, t: int) -> Tensor:
        """The points of batch t, int64 [|b_t|]."""
        return self.batches[t, : self._batch_sizes[t]]

    @cached_property
    def etas(self) -> list[float]:
        """The step sizes η_t as numbers."""
        return [float(eta) for eta in self.step_sizes]

    @cached_property
    def _batch_sizes(self) -> list[int]:
        """|b_t|; what pads a row stands at its end."""
        return [int(size) for size in (self.batches >= 0).sum(1)]

    def draw(self, t: int) -> Draw:
        """What step t drew."""
        return self.workload.recipe.variant.draw(self.workload.drawn_by, t, self.parameters)

    def query_values(self, queries: Examples, parameters: Tensor | None = None) -> Tensor:
        """What is attributed of the queries, f_q at ω* or at other parameters [P]: [n_query]."""
        return self._values(queries, queries.functional, parameters)

    def query_losses(self, queries: Examples, parameters: Tensor | None = None) -> Tensor:
        """ℓ_q at ω*, or at other parameters [P], whatever is attributed: [n_query]."""
        return self._values(queries, LOSS, parameters)

    def _values(self, queries: Examples, functional: Functional, parameters: Tensor | None) -> Tensor:
        omega = self.parameters if parameters is None else parameters
        values = functional.of(self.workload.loss).value(self.objective.all_logits(omega, queries.x), queries.y)
        return values.mean()[None] if queries.pooled else values

    def predictions(self, examples: Examples, parameters: Tensor | None = None) -> Tensor:
        """Class probabilities [b, c] at ω*, or at other parameters [P].

        Raises:
            SamattrError: if the network's loss is of no classes.
        """
        if not self.workload.loss.classes:
            raise SamattrError(f"there are class probabilities of cross-entropy alone, not of {self.workload.loss}")
        omega = self.parameters if parameters is None else parameters
        return self.objective.all_logits(omega, examples.x).softmax(-1)

    def accuracy(self, examples: Examples, parameters: Tensor | None = None) -> float:
        """Share of the examples whose likeliest class is their label, in [0, 1]; or what stands for it of other losses.

        That is the share of labels or tokens that are right, and of numbers R², see `samattr_ref.network.losses`.
        """
        omega = self.parameters if parameters is None else parameters
        return self.workload.loss.quality(self.objective.all_logits(omega, examples.x), examples.y)

    def query_gradients(self, queries: Examples, parameters: Tensor | None = None) -> Tensor:
        """∇f_q at ω*, or at other parameters [P], without the L2 term: [n_query, P]; of the loss, ∇ℓ_q."""
        omega, functional = self.parameters if parameters is None else parameters, queries.functional
        if queries.pooled:
            return self.objective.mean_gradient(omega, queries.x, queries.y, functional=functional)[None]
        return self.objective.sample_gradients(omega, queries.x, queries.y, functional)

    def query_directions(self, queries: Examples, parameters: Tensor | None = None) -> Tensor | SampleGradients:
        """`query_gradients` for products with the gradients of other samples: in factors, or a mean's own [P, 1]."""
        if queries.pooled:
            return self.query_gradients(queries, parameters).T
        omega = self.parameters if parameters is None else parameters
        return self.objective.factored_gradients(omega, queries.x, queries.y, queries.functional)

    def gradient(self, omega: Tensor, points: Tensor | None = None) -> Tensor:
        """The training gradient ∇L(ω) [P] of all points or of some, the L2 term included."""
        data = self.objective.mean_gradient(omega, self.train.x, self.train.y, points)
        return torch.add(data, omega, alpha=self.objective.weight_decay)

    def tensors(self) -> dict[str, Tensor]:
        """What is saved of it as tensors."""
        names = ("parameters", "batches", "step_sizes", "checkpoint_steps", "checkpoints", "velocities", "memories")
        return {name: getattr(self, name) for name in names}


def as_device(tensors: dict[str, Tensor], device: str) -> dict[str, Tensor]:
    """The tensors of a saved run on a device; batches and steps stay on the CPU."""
    stay = {"batches", "step_sizes", "checkpoint_steps"}
    return {name: tensor if name in stay else tensor.to(device) for name, tensor in tensors.items()}
