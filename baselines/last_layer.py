"""The last linear layer of a network, and the features that it reads."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.libraries import network_at, trial_points
from samattr_ref.network.losses import residuals
from samattr_ref.network.trial import differing
from samattr_ref.run import Run
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.memory import chunk_length, chunks


@dataclass(frozen=True)
class LastLayer:
    """The last layer of type `nn.Linear`, which the logits come from.

    Attributes:
        name: Its name.
        weight: The entries of ω that are its weight.
        bias: The entries that are its bias; None without one, or with a frozen one.
    """

    name: str
    weight: slice
    bias: slice | None


def last_layer(run: Run, method: str) -> LastLayer:
    """Find it among the modules of the run's network.

    Raises:
        SamattrError: if there is none whose weight is trained under its own name.
    """
    layers = [name for name, layer in run.objective.module.named_modules() if type(layer) is nn.Linear]
    spans = run.objective.layout.spans
    name = layers[-1] if layers else ""
    weight, bias = (f"{name}.{part}".removeprefix(".") for part in ("weight", "bias"))
    if not layers or weight not in spans:
        raise SamattrError(f"{method} needs a last layer nn.Linear that is trained, and this network has none")
    return LastLayer(name, spans[weight], spans.get(bias))


def features(run: Run, layer: LastLayer, x: Tensor, method: str) -> Tensor:
    """What the layer reads of each input at ω*, [b, d].

    Raises:
        SamattrError: if it is not called once with one vector a sample, or its outputs are not the logits.
    """
    module = network_at(run, run.parameters)
    seen: list[tuple[Tensor, Tensor]] = []
    handle = module.get_submodule(layer.name).register_forward_hook(
        lambda _, inputs, output: seen.append((inputs[0].detach().clone(), output.detach().clone()))
    )
    found = []
    try:
        with torch.no_grad():
            for part in chunks(len(x), chunk_length(4 * run.objective.activation_bytes(x))):
                seen.clear()
                logits = module(x[part].clone())
                once = len(seen) == 1 and seen[0][0].ndim == 2
                if not once or seen[0][1].shape != logits.shape or not torch.equal(seen[0][1], logits):
                    raise SamattrError(
                        f"{method} needs a last nn.Linear that gives the logits, and '{layer.name}' does not"
                    )
                found.append(seen[0][0])
    finally:
        handle.remove()
    return torch.cat(found)


def check_last_layer(run: Run, layer: LastLayer, method: str) -> None:
    """Hold (π − onehot(y)) fᵀ against the gradient by the layer's weight at a few points.

    Raises:
        SamattrError: if it is another, as where the weight is used elsewhere too.
    """
    few = trial_points(run)
    f = features(run, layer, few.x, method)
    g = residuals(run.objective.logits(run.parameters, few.x).detach(), few.y)
    rows = run.objective.sample_gradients(run.parameters, few.x, few.y)
    found = rows.clone()
    found[:, layer.weight] = torch.einsum("bi,bj->bij", g, f).flatten(1)
    if differing(run.objective.layout, found, rows):
        raise SamattrError(f"{method} needs a last layer whose weight is used there alone, not as '{layer.name}' is")
