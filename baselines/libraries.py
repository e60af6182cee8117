"""Methods of other libraries: called in silence and without a trace, on a network of their own that they may change."""

import gc
import io
import logging
import math
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import torch
from torch import Tensor, nn

from samattr_ref.data import Examples
from samattr_ref.network.trial import differing, spread
from samattr_ref.run import Run
from samattr_ref.support.errors import SamattrError, first_line
from samattr_ref.support.seeds import seeded


@contextmanager
def apart(run: Run, name: str) -> Iterator[Path]:
    """Within the block, what a library writes goes into a folder that is removed, and what it says is not heard.

    Global generators start from a stream of the run's own. Afterwards they are put back, and so is the root log, which
    libraries set up for themselves.

    Args:
        run: The run that is attributed.
        name: The method, whose stream it is.

    Yields:
        The folder.
    """
    root, unheard = logging.getLogger(), io.StringIO()
    level, handlers, disabled = root.level, list(root.handlers), root.manager.disable
    with (
        seeded(run.workload.seed, name),
        tempfile.TemporaryDirectory(prefix="samattr-") as folder,
        warnings.catch_warnings(),
        redirect_stdout(unheard),
        redirect_stderr(unheard),
    ):
        warnings.simplefilter("ignore")
        logging.disable()
        try:
            yield Path(folder)
        finally:
            logging.disable(disabled)
            root.setLevel(level)
            root.handlers[:] = handlers


@contextmanager
def own_garbage() -> Iterator[None]:
    """Within the block, a library that collects garbage again and again collects its own alone.

    Going through all that is imported takes half a second each time.
    """
    frozen = gc.get_freeze_count()
    if not frozen:
        gc.freeze()
    try:
        yield
    finally:
        if not frozen:
            gc.unfreeze()


@contextmanager
def in_precision_of(run: Run) -> Iterator[None]:
    """Within the block, tensors that a library makes with no dtype have that of the run's parameters."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(run.parameters.dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def followed(library: str) -> Iterator[None]:
    """Within the block, whatever a library raises about a network is one line.

    Raises:
        SamattrError: naming the library, and what it says.
    """
    try:
        yield
    except SamattrError:
        raise
    except Exception as error:  # whatever a library raises about a network that it was not made for
        raise SamattrError(f"{library} cannot follow this network: {first_line(error)}") from error


def network_at(run: Run, omega: Tensor) -> nn.Module:
    """The run's network, built once more, with ω [P] in its parameters."""
    module = run.workload.build()[0].module
    put(run, module, omega)
    return module


def put(run: Run, module: nn.Module, omega: Tensor) -> None:
    """Put ω [P] into the parameters of the run's network, built once more."""
    parts = run.objective.unflatten(omega)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name in parts:
                parameter.copy_(parts[name])


def trial_points(run: Run) -> Examples:
    """A few training points to try a library at, with other labels: there no gradient is small for being fitted."""
    few = run.train.take(spread(run.train.x, run.train.y))
    return Examples(few.x, (few.y + 1) % run.splits.n_classes)


def check_gradients(run: Run, found: Tensor, few: Examples, library: str, method: str) -> None:
    """Hold a library's ∇ℓ_i(ω*) [b, P] at a few points against those of plain PyTorch.

    Raises:
        SamattrError: naming a parameter by which they differ.
    """
    true = run.objective.sample_gradients(run.parameters, few.x, few.y)
    if wrong := differing(run.objective.layout, found, true):
        name = min(wrong, key=run.objective.layout.names.index)
        raise SamattrError(
            f"{library} takes other gradients by '{name}' than plain PyTorch: {method} says nothing of it"
        )


def total_damping(run: Run, damping: float) -> float:
    """δ + λ: the L2 term is part of the training loss, and so of its curvature.

    Raises:
        SamattrError: if δ is no finite number >= 0.
    """
    if not (math.isfinite(damping) and damping >= 0):
        raise SamattrError(f"damping must be a finite number >= 0, not {damping}")
    return damping + run.objective.weight_decay


def positive_damping(run: Run, damping: float) -> float:
    """δ + λ for an approximation of the curvature that may have no inverse of its own.

    Raises:
        SamattrError: if δ is no finite number >= 0, or neither is larger than 0.
    """
    total = total_damping(run, damping)
    if total == 0:
        raise SamattrError("damping must be larger than 0 where there is no weight decay: F has no inverse")
    return total
