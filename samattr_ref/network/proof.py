"""One proof of a network, before anything is paid for: the network in use is the one that is differentiated.

Same-run ground truth and every derivative of it rest on rules that a module may break without a word: its output is a
function of ω and of the point alone; a forward pass leaves it as it was; its parameters are where it says they are;
its gradient is the derivative of its loss, and torch can differentiate it once more. Each is tried on points spread
over the data, at the initial parameters, at these with noise, and at the final ones, against the module itself as plain
PyTorch would train it. What is wrong only on a faster way means a slower one (`samattr_ref.network`); what is wrong on
the plainest is refused, in one line that names the rule.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from samattr_ref.network.linearised import Linearised
from samattr_ref.network.loss_check import check_loss
from samattr_ref.network.network import CALLS, Network, Ways
from samattr_ref.network.objective import Objective
from samattr_ref.network.trial import Trial, differing, noisy, spread
from samattr_ref.support.errors import SamattrError, first_line
from samattr_ref.support.fingerprint import fingerprint
from samattr_ref.support.precision import full_precision
from samattr_ref.support.seeds import stream

ALONE = 64
"""Of a network whose forward pass reads values, so many points are compared alone and in company; else `FEW`."""

COMPANY = 256
"""A batch is taken to be no larger than this."""

FEW = 4
"""So many points are enough where every point takes the same operations."""

PAIR = 2
"""And so many for second derivatives, which are those of the operations."""


@full_precision()
def prove(objective: Objective, x: Tensor, y: Tensor, n_classes: int, batch_size: int | None, omega: Tensor) -> Ways:
    """The fastest ways in which the network may be called, tried before it is trained.

    Args:
        objective: The training loss; its network is called in these ways from then on.
        x: Training inputs, [n, ...].
        y: Their labels, [n], or what else the loss takes.
        n_classes: The number of classes, or of outputs that the targets need.
        batch_size: Points a step; None for all.
        omega: Initial parameters ω_0, [P].

    Raises:
        SamattrError: if the network breaks a rule, saying which.
    """
    objective, network, points = objective.without_decay(), objective.network, spread(x, y)
    branches = _checked_output(network, x[points], n_classes, omega)
    moved = noisy(network.layout, omega)  # where all takes the same operations, what holds there holds at ω_0
    trial = Trial(network, x[points], y[points], (omega, moved) if branches else (moved,))
    others = spread(x, y, ALONE) if branches else points[:FEW]
    with network.holding(moved) as module:
        check_behaviour(module, x[others], _company(x, batch_size, len(others)), branches)
    check_loss(network, trial, moved)
    try:
        assert trial.gradients
    except Exception as error:  # whatever autograd or a user's backward pass raises
        raise SamattrError(f"plain PyTorch cannot differentiate the network: {first_line(error)}") from error
    network.ways = Ways(branches=branches)
    network.ways = _fastest_call(objective, trial)
    network.ways = _differentiable(objective, trial, moved)
    return network.ways


@full_precision()
def prove_again(objective: Objective, x: Tensor, y: Tensor, batch_size: int | None, omega: Tensor) -> None:
    """Try the ways in which a network was trained once more, at its final parameters ω_T [P].

    Raises:
        SamattrError: if the network breaks a rule there, saying which.
    """
    objective, network, points = objective.without_decay(), objective.network, spread(x, y)
    trial = Trial(network, x[points], y[points], (omega,))
    others = spread(x, y, ALONE) if network.ways.branches else points[:FEW]
    with network.holding(omega) as module:
        check_behaviour(module, x[others], _company(x, batch_size, len(others)), network.ways.branches)
    if _wrong_parameters(objective, trial):
        raise SamattrError(
            "the network came to be computed in another way while it was trained: its gradient is no longer that of "
            "plain PyTorch; keep its forward pass free of switches"
        )
    if network.ways.branches:  # else its derivatives are those of the same operations as before
        _differentiable(objective, trial, omega)


def _checked_output(network: Network, x: Tensor, n_classes: int, omega: Tensor) -> bool:
    """Refuse outputs that the loss cannot take; whether a forward pass takes its course by the values that it meets."""
    shape, dtype, mode = list(x.shape[1:]), str(x.dtype).removeprefix("torch."), _ReadsValues()
    try:
        with torch.no_grad(), network.holding(omega) as module, mode:
            z = module(x)
    except Exception as error:  # whatever a user's forward pass raises
        raise SamattrError(f"the network cannot read inputs of shape {shape} ({dtype}): {first_line(error)}") from error
    if not isinstance(z, Tensor) or not z.is_floating_point():
        what = str(z.dtype) if isinstance(z, Tensor) else type(z).__name__
        raise SamattrError(f"the network returns a {what}: it must return class logits, a floating tensor [b, c]")
    if z.dim() < 2 or len(z) != len(x):
        raise SamattrError(
            f"the network returns shape {list(z.shape)} for {len(x)} points: it must return class logits [b, c]"
        )
    network.loss.check_outputs(z, n_classes)
    if not bool(torch.isfinite(z).all()):
        raise SamattrError("the network's outputs are NaN or infinite at its initial parameters")
    return mode.found


def check_behaviour(module: nn.Module, x: Tensor, batch: Tensor, branches: bool = True) -> None:
    """Refuse a module that a forward pass changes, that writes into its inputs, that is random, or that mixes samples.

    Args:
        module: Maps inputs [b, ...] to outputs [b, ...].
        x: Inputs that are tried alone and in company.
        batch: Inputs that are company to them.
        branches: Whether a point may take another course than the next: then each is tried alone.

    Raises:
        SamattrError: saying which.
    """
    with torch.no_grad():
        before, drawn, kept, version = _State.of(module), _generators(x), x.clone(), x._version
        first = module(x)
        if x._version != version or not torch.equal(x, kept):
            raise SamattrError(
                "the network writes into its inputs, which are the data and are read again: keep in-place operations "
                "off them (x = x.clone() first, or inplace=False)"
            )
        if (changed := before.changed(module)) is not None:
            raise SamattrError(
                f"a forward pass changes {changed}: a network must leave itself as it was, since retraining and "
                "attribution call it in another order; keep nothing in it (running statistics, counters, caches)"
            )
        draws = _generators(x) != drawn or not _repeated(first, module(x))
        mixes = not draws and _mixes(module, x, batch, first, branches)
        if draws or (mixes and not _repeated(first, module(x))):  # mixing is not to be told from drawing a new
            raise SamattrError(
                "the network is random: its outputs for the same input differ from call to call, so no same-run ground "
                "truth exists; remove what draws random numbers (dropout, stochastic depth, augmentation)"
            )
    if mixes:
        raise SamattrError(
            "the network mixes samples: its output for a point depends on the others of the batch, so no same-run "
            "ground truth exists; remove what it computes over the batch (batch statistics, contrast between samples)"
        )


def _company(x: Tensor, batch_size: int | None, count: int) -> Tensor:
    """What makes so many points a batch of the run."""
    return x[: max(1, min(batch_size or len(x), COMPANY) - count)]


def _mixes(module: nn.Module, x: Tensor, batch: Tensor, first: Tensor, branches: bool) -> bool:
    """Whether outputs of points alone, in parts, in another order and behind a batch are not those of all together."""
    cuts = [[1]] if not branches else [list(range(1, len(x))), [len(x) // 2 or 1]]
    try:
        outputs = [torch.cat([module(part) for part in x.tensor_split(cut) if len(part)]) for cut in cuts]
        outputs += [module(x.flip(0)).flip(0), module(torch.cat([batch, x]))[len(batch) :]]
    except Exception:  # a forward pass that asks for a batch of some size
        return True
    return not all(_equal(first, other) for other in outputs)


def _fastest_call(objective: Objective, trial: Trial) -> Ways:
    """The fastest way to call the network that gives the gradients of plain PyTorch."""
    network = objective.network
    found: set[str] = set()
    for call in CALLS if network.pools else CALLS[1:]:
        network.ways = replace(network.ways, call=call)
        if not (found := _wrong_parameters(objective, trial)):
            break
    else:
        names = ", ".join(f"'{name}'" for name in sorted(found)[:3])
        raise SamattrError(
            f"the network holds its parameters apart from its layers ({names}): a closure, a view or a tensor hook "
            "made when it was built keeps the old ones; reach them as attributes in the forward pass"
        )
    if network.could_be_channels_last(trial.x):
        slower = network.ways
        network.ways = replace(slower, channels_last=True)
        if _wrong_parameters(objective, trial):
            network.ways = slower
    return network.ways


def _wrong_parameters(objective: Objective, trial: Trial) -> set[str]:
    """The parameters whose gradient, as the network is called now, is not that of plain PyTorch."""
    for omega, true in zip(trial.omegas, trial.gradients, strict=True):
        try:
            mine = objective.eager_gradient(omega, trial.x, trial.y)
        except Exception:  # whatever a user's network raises where it is called in another way than its own
            return set(objective.layout.names)
        if wrong := differing(objective.layout, mine, true):
            return wrong
    return set()


def _differentiable(objective: Objective, trial: Trial, omega: Tensor) -> Ways:
    """The ways of the network with the kernels in which its derivatives are right."""
    network, last = objective.network, ""
    for plain in (False, True):
        if network.ways.plain and not plain:
            continue
        network.ways = replace(network.ways, plain=plain)
        if not (last := _wrong_derivative(objective, trial, omega)):
            if plain and _wrong_parameters(objective, trial):
                break
            return network.ways
    raise SamattrError(last or "the network is another one without torch's fused kernels")


def _wrong_derivative(objective: Objective, trial: Trial, omega: Tensor) -> str:
    """What is wrong with the network's derivatives at ω, against differences of its loss and gradient; or nothing."""
    network, x, y = objective.network, trial.x[:PAIR], trial.y[:PAIR]
    if omega.dtype == torch.float64:
        return _against_differences(objective, omega, x, y, FINE)[0]
    with network.in_double():
        wide = x.double() if x.is_floating_point() else x
        try:
            with torch.no_grad():
                network.module(wide)
        except Exception:  # a forward pass that names float32 itself
            fine = False
        else:
            fine = True
            wrong, d, true = _against_differences(objective, omega.double(), wide, y, FINE)
    if not fine:
        return _against_differences(objective, omega, x, y, COARSE)[0]
    if wrong or not _kernels_by_dtype(network.module):
        return wrong
    try:
        own = _curvature(objective, omega, x, y, d.to(omega))[1]
    except Exception as error:  # float32 has kernels of its own
        return _second(error)
    near = float((own.double() - true).norm()) <= COARSE.tolerance * float(true.norm())
    return "" if near else _second(None)


FUSED = (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
"""Layers of torch's own that float32 has kernels of its own for."""


def _kernels_by_dtype(module: nn.Module) -> bool:
    """Whether a network may take other operations in float32 than in float64."""
    layers = list(module.modules())
    return any(
        isinstance(layer, FUSED) or not type(layer).__module__.startswith("torch.nn.modules.") for layer in layers
    )


@dataclass(frozen=True)
class Differences:
    """How derivatives are held against differences.

    Attributes:
        steps: Step lengths, tried one after another: a shorter one crosses fewer kinks.
        tolerance: What error counts as right, relative to a parameter's largest entry.
        least: What is not told from zero, relative to the largest entry of all.
    """

    steps: tuple[float, ...]
    tolerance: float
    least: float


FINE = Differences((1e-5, 1e-6, 1e-7), 1e-4, 1e-5)
COARSE = Differences((3e-2, 1e-2, 3e-3), 5e-2, 2e-2)


def _against_differences(
    objective: Objective, omega: Tensor, x: Tensor, y: Tensor, how: Differences
) -> tuple[str, Tensor, Tensor]:
    """What is wrong, if anything, with a direction [P] and ∇²ℓ along it [P]."""
    wrong, d, product = "", omega, omega
    for attempt, h in enumerate(how.steps):
        d = _direction(objective.network, omega, attempt)
        (loss_after, after), (loss_before, before) = (
            objective.network.plain_gradient(at, x, y) for at in (omega + h * d, omega - h * d)
        )
        try:
            g, product = _curvature(objective, omega, x, y, d)
        except Exception as error:  # whatever torch or a user's backward pass raises
            return _second(error), d, product
        rounding = 10 * torch.finfo(omega.dtype).eps / h
        slope, size = (loss_after - loss_before) / (2 * h), float((g * d).norm())
        if not abs(slope - float(g @ d)) <= how.tolerance * size + rounding * abs(loss_after):
            wrong = (
                "the network's gradient is not the derivative of its loss (a detach, a rounding, a hook that changes "
                "gradients, a wrong backward pass): attribution would follow another loss"
            )
            continue
        difference = (after - before) / (2 * h)
        least = how.least * float(difference.abs().max()) + rounding * float(g.abs().max())
        blocks = [(product[span], difference[span]) for span in objective.layout.spans.values()]
        if all(float((a - b).abs().max()) <= how.tolerance * float(b.abs().max()) + least for a, b in blocks):
            return "", d, product
        wrong = _second(None)
    return wrong, d, product


def _second(error: Exception | None) -> str:
    said = "wrong" if error is None else f"not there ({first_line(error)})"
    return (
        f"the network's second derivatives, as torch computes them, are {said}: the derivative of a training run and "
        "every influence function need them"
    )


def _curvature(objective: Objective, omega: Tensor, x: Tensor, y: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """∇ℓ(ω) and ∇²ℓ(ω) d [P] of the mean loss, as the network is called now."""
    linearised = Linearised(objective, omega, x, y, None)
    return linearised.gradient, linearised.along(d[None])[0][0]


def _direction(network: Network, omega: Tensor, number: int) -> Tensor:
    """A direction [P] of the size of ω."""
    noise = torch.randn(len(omega), generator=stream(0, "direction", number), dtype=torch.float64).to(omega)
    return noise * float(omega.double().square().mean().sqrt().clamp(min=1e-3))


READS = {"item", "tolist", "numpy", "nonzero", "equal", "allclose", "is_nonzero", "unique"} | {
    f"__{name}__" for name in ("bool", "int", "float", "index", "array", "contains")
}
"""Functions of tensors that take values out of them, by which Python can branch."""


class _ReadsValues(TorchFunctionMode):
    """Notes whether a value is taken out of a tensor."""

    found = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found |= getattr(func, "__name__", "") in READS
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class _State:
    """A module as it was.

    Attributes:
        tensors: Its parameters and buffers, copied.
        attributes: What else its layers hold, by layer.
        digest: Of what can change and stay the same object: containers, objects, the classes that are a user's own.
    """

    tensors: dict[str, Tensor]
    attributes: dict[str, dict[str, Any]]
    digest: str

    @classmethod
    def of(cls, module: nn.Module) -> "_State":
        tensors = {name: tensor.detach().clone() for name, tensor in _tensors(module)}
        attributes = {name: _attributes(layer) for name, layer in module.named_modules()}
        return cls(tensors, attributes, _held(module, attributes))

    def changed(self, module: nn.Module) -> str | None:
        """What is another now; None if nothing is."""
        for name, tensor in _tensors(module):
            if name not in self.tensors or not torch.equal(tensor, self.tensors[name]):
                return f"the parameter or buffer '{name}'"
        now = {name: _attributes(layer) for name, layer in module.named_modules()}
        held = _held(module, now)
        for name, attributes in now.items():
            before = self.attributes.get(name, {})
            for own, value in attributes.items():
                same = own in before and (value is before[own] or (_constant(value) and value == before[own]))
                if not same and (held != self.digest or _constant(value)):
                    return f"the attribute '{own}' of " + (f"layer '{name}'" if name else "the network")
        return None if held == self.digest else "what it holds"


def _held(module: nn.Module, attributes: dict[str, dict[str, Any]]) -> str:
    """The digest of what can change in a module and stay the same object."""
    held: list[Any] = [value for own in attributes.values() for value in own.values() if not _constant(value)]
    held += {type(layer) for layer in module.modules() if not type(layer).__module__.startswith("torch.nn.")}
    return fingerprint(held).digest if held else ""


CONSTANTS = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size)


def _constant(value: Any) -> bool:
    """Whether a value is what it is as long as it is the same object."""
    if isinstance(value, tuple):
        return all(_constant(item) for item in value)
    return isinstance(value, CONSTANTS) or (isinstance(value, dict) and not value)


def _attributes(layer: nn.Module) -> dict[str, Any]:
    """What a layer holds beside parameters, buffers and layers.

    Not the tensors of a layer with a hook before its forward pass: there stands what the hook makes of parameters anew
    each time (weight norm and pruning before they were parametrisations).
    """
    own = {name: value for name, value in vars(layer).items() if name not in ("_parameters", "_buffers", "_modules")}
    if layer._forward_pre_hooks:
        own = {name: value for name, value in own.items() if not isinstance(value, Tensor)}
    return own


def _tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]


def _generators(x: Tensor) -> tuple[Any, ...]:
    """The states of the global generators that a network can draw from where x is."""
    own = np.random.get_state()  # noqa: NPY002 — the global one is what a network draws from
    numpy = (own[1].tobytes(), own[2]) if isinstance(own, tuple) else ()
    device = torch.cuda.get_rng_state(x.device).numpy().tobytes() if x.is_cuda else b""
    return torch.get_rng_state().numpy().tobytes(), device, numpy, random.getstate()


def _repeated(a: Tensor, b: Tensor) -> bool:
    """Whether outputs of the same batch are the same: to the bit, but on a CUDA device, where sums change order."""
    return _equal(a, b) if a.is_cuda else torch.equal(a, b)


def _equal(a: Tensor, b: Tensor) -> bool:
    """Whether outputs agree but for rounding, which grows with depth and differs between batch sizes."""
    if a.shape != b.shape:
        return False
    tolerance = 10 * torch.finfo(a.dtype).eps ** 0.5
    return torch.allclose(a, b, rtol=tolerance, atol=tolerance * float(a.abs().max()), equal_nan=True)


def refuse_layers(module: nn.Module) -> None:
    """Refuse layers that are known by their types to break a rule, with what to do about it.

    Raises:
        SamattrError: naming the first of them.
    """
    for name, layer in module.named_modules():
        for kinds, breaks, said in RULES:
            if isinstance(layer, kinds) and breaks(layer):
                raise SamattrError(f"layer '{name}' {said}")


Rule = tuple[tuple[type[nn.Module], ...], Callable[[Any], bool], str]

EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)

RULES: tuple[Rule, ...] = (
    (
        (nn.modules.dropout._DropoutNd,),
        lambda layer: layer.training and layer.p > 0,
        "is dropout: a random layer has no same-run ground truth; remove it",
    ),
    (
        (nn.modules.batchnorm._BatchNorm,),
        lambda layer: layer.training or layer.running_mean is None,
        "is batch norm by the statistics of the batch, which mixes samples; samattr_ref.group_norm converts it, and in "
        "eval mode it takes running statistics",
    ),
    (
        EMBEDDINGS,
        lambda layer: layer.padding_idx is not None,
        "has a padding_idx, whose row backward mode holds still and forward mode moves; leave it out and mask the "
        "padding in the network",
    ),
    (
        EMBEDDINGS,
        lambda layer: layer.max_norm is not None,
        "has a max_norm, which changes its parameters in the forward pass; leave it out",
    ),
    (
        EMBEDDINGS,
        lambda layer: layer.scale_grad_by_freq,
        "has scale_grad_by_freq, which makes a point's gradient depend on the others of the batch; leave it out",
    ),
)
"""Types of layers, when they break a rule, and what is said."""
