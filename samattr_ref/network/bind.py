"""A module with other tensors in the place of its parameters."""

from collections.abc import Iterator
from typing import cast

from torch import Tensor, nn


def bind(module: nn.Module, tensors: Iterator[Tensor], bound: dict[int, nn.Module | Tensor]) -> nn.Module:
    """The module with tensors in the place of its trained parameters, in the order of `Layout`.

    A shallow copy, layer by layer, that shares all else, frozen parameters among it. `torch.func.functional_call`,
    which costs more, lends the module itself the tensors for as long as the call takes: two threads would then see each
    other's.

    Args:
        module: The module, left as it is.
        tensors: The tensors.
        bound: What has been bound already, by identity: a layer or a parameter that is used twice stays one.
    """
    if id(module) not in bound:
        bound[id(module)] = copied = object.__new__(type(module))
        own = copied.__dict__  # written past nn.Module's bookkeeping, which is what makes this fast
        own.update(module.__dict__)
        own["_parameters"] = parameters = dict(module._parameters)
        for name, parameter in parameters.items():
            if parameter is not None and parameter.requires_grad:
                if id(parameter) not in bound:
                    bound[id(parameter)] = next(tensors)
                parameters[name] = cast(nn.Parameter, bound[id(parameter)])
        own["_modules"] = {
            name: None if child is None else bind(child, tensors, bound) for name, child in module._modules.items()
        }
    return cast(nn.Module, bound[id(module)])
