"""How retrainings are carried out: the engine, how many networks run as one program, how many are written together.

All of it follows from the network, the recipe and the number of retrainings, and nothing is timed: which operations
are done together decides the last bits of a result, so that the same truth is the same, bit for bit, every time.
"""

import logging
from dataclasses import dataclass

from torch.utils.flop_counter import FlopCounterMode

from baselines.engines import ENGINES, Engine, seconds_a_step, stacked_chain, workers
from samattr_ref.run import Run
from samattr_ref.sam.step import Batch, first_state, sam_step
from samattr_ref.support.errors import SamattrError, unknown_name

log = logging.getLogger("samattr")

LARGEST, LEAST = 128, 8
"""Networks that are stacked: fewer leave the operations too small, more do not fit in the processor's cache."""

STACKED_BYTES = 2**23
"""Parameters of all networks that are stacked: as many as that are fastest on the CPUs that were tried."""

MOST = 256
"""Retrainings that are written together, or batched; more gain little."""

MEMORY_BYTES = 2**30
"""What retrainings that run as one program may hold, estimated from above; where that is too much, see `retrain`."""

CHUNK_FLOPS = 2e11
"""Floating-point operations of what is written together, some seconds of a core: what an interruption may cost."""

STEP_FLOPS = 2e7
"""What could be computed in the time that the calls of a step take themselves, about a millisecond."""

COMPILE_FLOPS = 6e12
"""Work, in floating-point operations, from which on the step is compiled, which takes some tens of seconds itself."""


@dataclass(frozen=True)
class Plan:
    """How retrainings are carried out.

    Attributes:
        engine: The engine.
        chunk: Retrainings that are written together.
        together: Retrainings that run as one program; it and the number of all decide every bit of the result.
    """

    engine: Engine
    chunk: int
    together: int


def plan_retraining(run: Run, n_groups: int, engine: Engine | None = None, cores: int | None = None) -> Plan:
    """Choose the engine, how many networks run together, and how many are written together.

    Args:
        run: The run.
        n_groups: How many retrainings there are.
        engine: The engine to take; None for what is fastest for such networks.
        cores: How many cores work on what is written together; None for all that there are. It decides no bit.

    Raises:
        SamattrError: for an engine that there is not, or that the network or the machine does not have.
    """
    if engine is not None and engine not in ENGINES:
        raise unknown_name("engine", engine, ENGINES)
    flops = step_flops(run)
    chosen = engine or _engine(run, flops * run.n_steps * n_groups)
    together = balanced(n_groups, _together(run, chosen))
    if chosen == "compiled" and not _compiles(run, together, asked=engine is not None):
        chosen = "stacked"
    in_time = int(CHUNK_FLOPS / ((flops * together + STEP_FLOPS) * run.n_steps))
    least = cores or workers(run, chosen)
    return Plan(chosen, together * max(least, min(in_time, MOST // together)), together)


def balanced(count: int, largest: int) -> int:
    """The chunk length that covers `count` in as few chunks as `largest` allows, evenly.

    >>> balanced(500, 256), balanced(500, 128)
    (250, 125)
    """
    n_chunks = -(-count // largest)
    return -(-count // n_chunks)


def step_flops(run: Run) -> int:
    """Floating-point operations of the matrix products and convolutions of one SAM step, as torch counts them."""
    points = run.batch(0).to(run.parameters.device)
    batch = Batch(run.objective, run.train.x[points], run.train.y[points])
    rule = run.workload.recipe.rule
    with FlopCounterMode(display=False) as counter:
        sam_step(batch, first_state(run.parameters, rule), 0.1, rule, run.draw(0))
    operations: int = counter.get_total_flops()
    return max(1, operations)


def _engine(run: Run, flops: int) -> Engine:
    """What is fastest: on a CPU, batched convolutions lose to a loop."""
    if stacked_chain(run) is not None:
        return "stacked" if flops < COMPILE_FLOPS else "compiled"
    slow = run.objective.network.convolves and not run.parameters.is_cuda
    return "batched" if run.objective.tried.networks and not slow else "loop"


def _compiles(run: Run, together: int, asked: bool) -> bool:
    """Whether a step can be compiled, which is done here; refused where that was asked for."""
    try:
        seconds_a_step(run, "compiled", together)
    except RuntimeError as error:  # no C++ compiler, above all
        reason = str(error).strip().split("\n")[0]
        if asked:
            raise SamattrError(f"the step could not be compiled ({reason}): use the engine stacked") from error
        log.warning("the step of %s could not be compiled (%s): stacked", run.workload.name, reason)
        return False
    return True


def _together(run: Run, engine: Engine) -> int:
    """How many networks run as one program at most."""
    if engine == "loop":
        return 1
    in_memory = max(1, MEMORY_BYTES // _bytes_a_retraining(run))
    if engine == "batched":
        return min(MOST, in_memory)
    in_cache = LARGEST if run.parameters.is_cuda else STACKED_BYTES // run.parameters.nbytes
    return min(max(LEAST, min(LARGEST, in_cache)), in_memory)


def _bytes_a_retraining(run: Run) -> int:
    """What one retraining in a batched step holds, estimated from above: activations, gradients, parameters."""
    batch = run.batches.shape[1] * run.objective.activation_bytes(run.train.x)
    return 6 * batch + 10 * run.parameters.numel() * run.parameters.element_size()
