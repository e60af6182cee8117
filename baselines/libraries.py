"""Methods of other libraries: called in silence and without a trace, on a network of their own that they may change."""

import gc
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import torch
from torch import Tensor, nn

from samattr_ref.data import Examples
from samattr_ref.network.trial import spread
from samattr_ref.run import Run
from samattr_ref.support.errors import SamattrError, first_line
from samattr_ref.support.seeds import seeded


@contextmanager
def apart(run: Run, name: str) -> Iterator[Path]:
    """Within the block, what a library writes goes into a folder that is removed, and what it says is not heard.

    Global generators start from a stream of the run's own. Afterwards they are put back, and so is the root log, which
    libraries set up for themselves. Where one collects garbage again and again, it collects its own alone.

    Args:
        run: The run that is attributed.
        name: The method, whose stream it is.

    Yields:
        The folder.
    """
    root, unheard = logging.getLogger(), io.StringIO()
    level, handlers, disabled, frozen = root.level, list(root.handlers), root.manager.disable, gc.get_freeze_count()
    with (
        seeded(run.workload.seed, name),
        tempfile.TemporaryDirectory(prefix="samattr-") as folder,
        warnings.catch_warnings(),
        redirect_stdout(unheard),
        redirect_stderr(unheard),
    ):
        warnings.simplefilter("ignore")
        logging.disable()
        if not frozen:
            gc.freeze()  # going through all that is imported takes half a second each time
        try:
            yield Path(folder)
        finally:
            if not frozen:
                gc.unfreeze()
            logging.disable(disabled)
            root.setLevel(level)
            root.handlers[:] = handlers


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
    parts = run.objective.unflatten(omega)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name in parts:
                parameter.copy_(parts[name])
    return module


def trial_points(run: Run) -> Examples:
    """A few training points to try a library at, with other labels: there no gradient is small for being fitted."""
    few = run.train.take(spread(run.train.x, run.train.y))
    return Examples(few.x, (few.y + 1) % run.splits.n_classes)
