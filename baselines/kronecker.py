"""The layers of a network that have Kronecker factors."""

from torch import nn

from samattr_ref.run import Run
from samattr_ref.support.errors import SamattrError

LAYERS = (nn.Linear, nn.Conv2d)
"""What Kronecker factors are for; not what is derived from them."""

NORMS = (nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase)
"""Layers whose parameters may be left out."""


def covered(run: Run, method: str) -> tuple[list[str], int]:
    """The names of the layers that have Kronecker factors, and how many parameters are in none of them.

    Raises:
        SamattrError: if one of these is not in a norm, or there is no such layer.
    """
    module, layout = run.objective.module, run.objective.layout
    layers, found = [], set()
    for name, layer in module.named_modules():
        own = {f"{name}.{part}".removeprefix(".") for part, _ in layer.named_parameters()}
        if type(layer) in LAYERS and own and own <= set(layout.names):
            layers.append(name)
            found |= own
    others = [name for name in layout.names if name not in found]
    for name in others:
        owner = module.get_submodule(name.rpartition(".")[0])
        if not isinstance(owner, NORMS):
            raise SamattrError(
                f"{method} covers nn.Linear and nn.Conv2d layers that are trained whole, and leaves out norms: "
                f"'{name}' ({type(owner).__name__}) is in neither"
            )
    if not layers:
        raise SamattrError(f"{method} covers nn.Linear and nn.Conv2d layers, and the network has none that is trained")
    return layers, sum(span.stop - span.start for span in (layout.spans[name] for name in others))
