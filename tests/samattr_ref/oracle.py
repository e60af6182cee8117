"""The plainest reference of everything, in float64: loops over steps, samples and matrix rows, by torch.autograd alone.

It knows nothing of how samattr_ref computes: a network is trained as a user would, in place on its own parameters, and
every formula is written out with explicit matrices.
"""

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import ClassVar, NamedTuple
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss
from torch.nn.parameter import is_lazy

import samattr_ref as sr
from samattr_ref import Workload
from samattr_ref.data import Examples
from samattr_ref.support.seeds import stream_seed

Value = Callable[[Tensor, Tensor], Tensor]

CHECKPOINTS = 4
"""Of tracin-cp."""

DAMPING, ORDER, SCALE = 1.0, 6, 0.1
"""Of the implicit methods and their series."""


class PlainRun(NamedTuple):
    """What a run left behind: ω_t and ω_t + ê_t of every step, and ω_T."""

    states: list[Tensor]
    perturbed: list[Tensor]
    end: Tensor


def plain_module(workload: Workload) -> nn.Module:
    """The network as it starts, all that a build may draw from seeded alike."""
    splits, seed = workload.splits, stream_seed(workload.drawn_by, "initial parameters")
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 — the global generator is what a build draws from
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        module = workload.model.build(tuple(splits.train.x.shape[1:]), splits.n_classes)
        if any(map(is_lazy, module.parameters())):  # drawn at the first call
            module.to(torch.float64)(splits.train.x[:1].cpu())
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    module = module.to(splits.train.x.device, torch.float64)
    return module.module if isinstance(module, nn.DataParallel) else module  # on one device it is what it wraps


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained, in the order of ω."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """One vector [P], a copy; a sparse gradient is a gradient too."""
    return torch.cat([(tensor.to_dense() if tensor.is_sparse else tensor).detach().reshape(-1) for tensor in tensors])


def parts(module: nn.Module, omega: Tensor) -> dict[str, Tensor]:
    """ω [P] as the parameters that are trained, by name."""
    parameters = trained(module)
    pieces = omega.split([parameter.numel() for parameter in parameters.values()])
    return {name: piece.view(parameters[name].shape) for name, piece in zip(parameters, pieces, strict=True)}


def put(module: nn.Module, omega: Tensor) -> None:
    """Make ω [P] the module's own parameters."""
    for parameter, part in zip(trained(module).values(), parts(module, omega).values(), strict=True):
        parameter.data.copy_(part)


def losses(logits: Tensor, y: Tensor) -> Tensor:
    """ℓ_i [b], of the loss that `trained_on` says, as torch's own functions compute it."""
    loss = _TRAINED_ON.get()
    if isinstance(loss, sr.SquaredError):
        return mse_loss(logits, y.view_as(logits), reduction="none").mean(1)
    if isinstance(loss, sr.BinaryCrossEntropy):
        return binary_cross_entropy_with_logits(logits, y, reduction="none").mean(1)
    if isinstance(loss, sr.NextToken):
        return cross_entropy(logits.transpose(1, 2), y, reduction="none").mean(1)
    if not isinstance(loss, sr.CrossEntropy):
        return loss.value(logits, y)
    found = cross_entropy(logits, y.long(), reduction="none", label_smoothing=loss.label_smoothing)
    return found if loss.class_weights is None else found * logits.new_tensor(loss.class_weights)[y]


CROSS_ENTROPY = sr.CrossEntropy()
_TRAINED_ON: ContextVar[sr.Loss] = ContextVar("trained on", default=CROSS_ENTROPY)


@contextmanager
def trained_on(loss: sr.Loss) -> Iterator[None]:
    """What is trained on within the block, where it is not cross-entropy."""
    token = _TRAINED_ON.set(loss)
    try:
        yield
    finally:
        _TRAINED_ON.reset(token)


def margins(logits: Tensor, y: Tensor) -> Tensor:
    """ln p − ln(1 − p) of the class's probability, [b]."""
    p = logits.softmax(-1)[range(len(y)), y.long()]
    return p.log() - (1 - p).log()


def own_logits(logits: Tensor, y: Tensor) -> Tensor:
    """z_y, [b]."""
    return logits[range(len(y)), y.long()]


VALUES = {"loss": losses, "margin": margins, "logit": own_logits}
"""What may be attributed of a query."""


def own_gradient(module: nn.Module, x: Tensor, y: Tensor, weights: Tensor | float, value: Value = losses) -> Tensor:
    """(1/|b|) Σ_i w_i ∇ℓ_i at the module's own parameters, [P]; the inputs are copied, a network may write on them."""
    loss = (weights * value(module(x.clone()), y)).sum() / len(x)
    own = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return flat(torch.autograd.grad(loss, own, allow_unused=True, materialize_grads=True))


def plain_run(workload: Workload, batches: Tensor, step_sizes: Tensor, weights: Tensor | None = None) -> PlainRun:
    """SAM as a user would write it; with weights w [n_train], 0 for points that are left out."""
    recipe, train, module = workload.recipe, workload.splits.train, plain_module(workload)
    weights = torch.ones(len(train.x)).to(train.x.device, torch.float64) if weights is None else weights
    omega = flat(list(trained(module).values()))
    velocity = torch.zeros_like(omega)
    states, perturbed = [], []
    for row, eta in zip(batches, step_sizes.tolist(), strict=True):
        batch = row[row >= 0].to(weights.device)

        def gradient(at: Tensor, batch: Tensor = batch) -> Tensor:
            put(module, at)
            return own_gradient(module, train.x[batch], train.y[batch], weights[batch]) + recipe.weight_decay * at

        with torch.compiler.set_stance("force_eager"):  # compiled it is the same network, half a minute later
            g = gradient(omega)
            there = omega + recipe.rho * g / g.norm()
            states.append(omega)
            perturbed.append(there)
            velocity = recipe.momentum * velocity + gradient(there)
        omega = omega - eta * velocity
    return PlainRun(states, perturbed, omega)


def sample_gradients(module: nn.Module, omega: Tensor, x: Tensor, y: Tensor, value: Value = losses) -> Tensor:
    """∇ℓ_i(ω), one sample after another, [b, P]."""
    put(module, omega)
    with torch.compiler.set_stance("force_eager"):
        return torch.stack([own_gradient(module, x[i : i + 1], y[i : i + 1], 1.0, value) for i in range(len(x))])


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    others = [i for i in range(v.dim()) if i != dim % v.dim()]
    return g * v / v.pow(2).sum(others, keepdim=True).sqrt()


def _embedding(x: Tensor, weight: Tensor, *_) -> Tensor:
    return weight[x]


def _embedding_bag(x, weight, offsets=None, max_norm=None, norm_type=2.0, by_freq=False, mode="mean", *_) -> Tensor:
    return {"sum": weight[x].sum, "mean": weight[x].mean}[mode](1)


def _checkpoint(function, *inputs, **_):
    return function(*inputs)


WRITTEN = (
    (torch, "_weight_norm", _weight_norm),
    (sys.modules["torch.nn.utils.weight_norm"], "_weight_norm", _weight_norm),  # its package names a function like it
    (torch.nn.functional, "embedding", _embedding),
    (torch.nn.functional, "embedding_bag", _embedding_bag),
    (torch.utils.checkpoint, "checkpoint", _checkpoint),
)
"""What is written out where second derivatives are taken."""


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Forward passes whose graphs have a right second derivative.

    Fused attention, sparse rows and bags of embeddings have none, torch's weight norm a wrong one (its own
    gradgradcheck says so), compiled networks refuse it, and a checkpoint is computed again when a functional call is
    long over.
    """
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
        stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        for owner, name, written in WRITTEN:
            stack.enter_context(mock.patch.object(owner, name, written))
        yield


def loss_at(module: nn.Module, omega: Tensor, x: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
    """(1/|b|) Σ_i w_i ℓ_i(ω), with a graph."""
    found = losses(functional_call(module, parts(module, omega), (x.clone(),)), y)
    return (found if weights is None else weights * found).sum() / len(x)


def hessian(module: nn.Module, omega: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """∇² of the mean loss at ω, row by row, without the L2 term: [P, P]."""
    with twice_differentiable():
        omega = omega.clone().requires_grad_()
        (g,) = torch.autograd.grad(loss_at(module, omega, x, y), omega, create_graph=True)
        return torch.stack([torch.autograd.grad(entry, omega, retain_graph=True)[0] for entry in g])


def unrolled_scores(
    workload: Workload, batches: Tensor, step_sizes: Tensor, queries: Examples, value: Value = losses
) -> Tensor:
    """−dℓ_q(ω_T)/dw_k by autograd through the whole loop, [n_train, n_query]."""
    recipe, train, module = workload.recipe, workload.splits.train, plain_module(workload)
    omega = flat(list(trained(module).values())).requires_grad_()
    weights = torch.ones(len(train.x)).to(omega).requires_grad_()
    velocity = torch.zeros_like(omega)

    def gradient(at: Tensor, batch: Tensor) -> Tensor:
        loss = loss_at(module, at, train.x[batch], train.y[batch], weights[batch])
        return torch.autograd.grad(loss, at, create_graph=True)[0] + recipe.weight_decay * at

    with twice_differentiable():
        for row, eta in zip(batches, step_sizes.tolist(), strict=True):
            batch = row[row >= 0].to(omega.device)
            g = gradient(omega, batch)
            velocity = recipe.momentum * velocity + gradient(omega + recipe.rho * g / g.norm(), batch)
            omega = omega - eta * velocity
        columns = []
        for q in range(len(queries.x)):
            logits = functional_call(module, parts(module, omega), (queries.x[q : q + 1].clone(),))
            (found,) = value(logits, queries.y[q : q + 1])
            columns.append(-torch.autograd.grad(found, weights, retain_graph=True)[0])
    return torch.stack(columns, dim=1)


def retraining_differences(
    workload: Workload,
    batches: Tensor,
    step_sizes: Tensor,
    points: Sequence[int],
    queries: Examples,
    h: float = 1e-4,
    value: Value = losses,
) -> Tensor:
    """The same for some points by central differences of plain runs: judges double backward too. [n_points, n_query]"""
    module = plain_module(workload)

    def query_values(k: int, w: float) -> Tensor:
        weights = torch.ones(len(workload.splits.train.x)).to(queries.x.device, torch.float64)
        weights[k] = w
        put(module, plain_run(workload, batches, step_sizes, weights).end)
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            return value(module(queries.x.clone()), queries.y)

    return torch.stack([(query_values(k, 1 - h) - query_values(k, 1 + h)) / (2 * h) for k in points])


class Oracle:
    """Every method's scores of one run, [n_train, n_query] each.

    Args:
        workload: What was trained.
        batches: The run's.
        step_sizes: The run's.
        queries: The queries.
        asked: What is attributed of them, one of `VALUES`.
    """

    def __init__(
        self, workload: Workload, batches: Tensor, step_sizes: Tensor, queries: Examples, asked: str = "loss"
    ) -> None:
        self.workload, self.batches, self.step_sizes, self.queries = workload, batches, step_sizes, queries
        self.value, self.sign = VALUES[asked], 1 if asked == "loss" else -1
        self.train, self.recipe, self.module = workload.splits.train, workload.recipe, plain_module(workload)

    @cached_property
    def run(self) -> PlainRun:
        return plain_run(self.workload, self.batches, self.step_sizes)

    METHODS: ClassVar[dict[str, Callable[["Oracle"], Tensor]]] = {
        "grad-dot": lambda self: self.grad_dot(),
        "tracin": lambda self: self.tracin([(t, t, t + 1) for t in range(len(self.batches))]),
        "tracin-cp": lambda self: self.tracin(self.segments(CHECKPOINTS)),
        "sam-gif": lambda self: self.sam_gif(),
        "sam-unrolled": lambda self: self.sam_unrolled(),
        "if": lambda self: self.implicit(False, False, False),
        "sam-if": lambda self: self.implicit(True, False, False),
        "sam-hif": lambda self: self.implicit(True, True, False),
        "sam-hif-implicit": lambda self: self.implicit(True, True, True),
        "sam-hif-fast": lambda self: self.implicit(True, True, False, series=True),
        "gradient-norm": lambda self: self.for_every_query(-self.sign * self.train_gradients.norm(dim=1)),
        "loss": lambda self: self.for_every_query(-self.sign * self.train_losses()),
    }

    def scores(self, method: str) -> Tensor:
        return self.METHODS[method](self)

    def gradients(self, omega: Tensor, examples: Examples) -> Tensor:
        return sample_gradients(self.module, omega, examples.x, examples.y)

    @cached_property
    def train_gradients(self) -> Tensor:
        """∇ℓ_k(ω_T), [n_train, P]."""
        return self.gradients(self.run.end, self.train)

    @cached_property
    def query_gradients(self) -> Tensor:
        """∇f_q(ω_T), [n_query, P]."""
        return self.asked_gradients(self.run.end)

    def asked_gradients(self, omega: Tensor) -> Tensor:
        """∇f_q(ω), [n_query, P]."""
        return sample_gradients(self.module, omega, self.queries.x, self.queries.y, self.value)

    def for_every_query(self, values: Tensor) -> Tensor:
        """Values of points [n_train], the same for every query, [n_train, n_query]."""
        return values[:, None].expand(-1, len(self.queries.x))

    def train_losses(self) -> Tensor:
        """ℓ_k(ω_T), [n_train]."""
        put(self.module, self.run.end)
        with torch.no_grad():
            return losses(self.module(self.train.x.clone()), self.train.y)

    def grad_dot(self) -> Tensor:
        return self.train_gradients @ self.query_gradients.T / len(self.train.x)

    def shares(self, t: int) -> Tensor:
        """B_{k,t}/|b_t|, [n_train]."""
        row = self.batches[t]
        batch = row[row >= 0]
        shares = torch.zeros(len(self.train.x), dtype=torch.float64)
        shares[batch] = 1 / len(batch)
        return shares.to(self.run.end.device)

    def weighted_products(self, weights: Tensor, at: Tensor, queries: Tensor) -> Tensor:
        """w_k ⟨∇ℓ_k(at), v_q⟩ for the gradients v of queries, [n_train, n_query]."""
        used = weights.nonzero()[:, 0]
        found = torch.zeros(len(weights), len(queries)).to(queries)
        found[used] = weights[used, None] * self.gradients(at, self.train.take(used)) @ queries.T
        return found

    def segments(self, count: int) -> list[tuple[int, int, int]]:
        """The middle, the first and the end of segments of equal length."""
        length = len(self.batches) // count
        return [((2 * start + length - 1) // 2, start, start + length) for start in range(0, count * length, length)]

    def tracin(self, segments: list[tuple[int, int, int]]) -> Tensor:
        total = 0
        for middle, start, stop in segments:
            omega = self.run.states[middle]
            weights = sum(float(self.step_sizes[t]) * self.shares(t) for t in range(start, stop))
            total = total + self.weighted_products(weights, omega, self.asked_gradients(omega))
        return total

    def sam_gif(self) -> Tensor:
        steps = range(len(self.batches))
        total = 0
        for t in steps:  # a gradient moves ω_T at its own step, and through the momentum buffer at every later one
            eta = sum(float(self.step_sizes[s]) * self.recipe.momentum ** (s - t) for s in steps[t:])
            total = total + self.weighted_products(eta * self.shares(t), self.run.perturbed[t], self.query_gradients)
        return total

    def sam_unrolled(self) -> Tensor:
        return unrolled_scores(self.workload, self.batches, self.step_sizes, self.queries, self.value)

    @cached_property
    def curvatures(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """ω* + ê, E = ∂ê/∂g, and H with its λI at ω* and at ω* + ê; ê is that of all points."""
        omega, recipe = self.run.end, self.recipe
        g = self.train_gradients.mean(0) + recipe.weight_decay * omega
        unit, identity = g / g.norm(), torch.eye(len(omega)).to(omega)
        at = omega + recipe.rho * unit
        E = recipe.rho / g.norm() * (identity - torch.outer(unit, unit))
        H0, H = (hessian(self.module, w, self.train.x, self.train.y) for w in (omega, at))
        return at, E, H0 + recipe.weight_decay * identity, H + recipe.weight_decay * identity

    @cached_property
    def perturbed_gradients(self) -> Tensor:
        """∇ℓ_k(ω* + ê), [n_train, P]."""
        return self.gradients(self.curvatures[0], self.train)

    def implicit(self, perturbed: bool, coupled: bool, removal: bool, series: bool = False) -> Tensor:
        """⟨∇ℓ_q(ω*), Δ_k⟩ with A Δ_k = r_k/n: the table in `samattr_ref.implicit.attribution`."""
        _, E, H0, H = self.curvatures
        H = H if perturbed else H0
        A = H + H @ E @ H0 if coupled else H
        A = A + DAMPING * torch.eye(len(A)).to(A)
        right = self.perturbed_gradients.T if perturbed else self.train_gradients.T
        if removal:
            right = right + H @ E @ self.train_gradients.T
        if series:
            change, term = torch.zeros_like(right), right
            for _ in range(ORDER + 1):
                change = change + SCALE * term
                term = term - SCALE * A @ term
        else:
            change = torch.linalg.solve(A, right)
        return change.T @ self.query_gradients.T / len(self.train.x)
