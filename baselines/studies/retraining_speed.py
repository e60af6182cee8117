"""How fast exact retraining is: beside the plain loop, and beside the machine's own rate of matrix products."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pandas as pd
import torch
from torch import Tensor

from baselines.engines import ENGINES, Engine, retrain, seconds_a_step, stacked_chain, workers
from baselines.planning import plan_retraining, step_flops
from baselines.studies.cases import Case
from baselines.studies.loo_and_lds import CNN
from baselines.studies.plain import train_plainly
from samattr_ref.support.timing import Timing, noted, timed, undisturbed_pairs
from samattr_ref.training import train
from samattr_ref.workload import Workload

REPEATS, CALL_SECONDS, PROGRAM_SECONDS = 5, 1.5, 15.0
"""Calls, how long one should take, and how long what runs as one program may: slower engines are left out."""
PRODUCT = 1500
"""The matrices whose product gives the machine's rate have this many rows and columns."""


COUNTS = {"digits-logreg": 500, "digits-mlp": 500, "mnist-mlp": 64, "cifar10-cnn": 4}


def retraining_speed(workload: Workload, count: int, engines: Sequence[Engine] = ENGINES) -> pd.DataFrame:
    """Seconds of a retraining by each engine and of one plain training, calls of all alternating in one process.

    Args:
        workload: The workload.
        count: How many single points are removed, each alone: rounded to what an engine runs side by side, and fewer
            where a call would take longer than `CALL_SECONDS`.
        engines: The engines; those that the network does not have are left out, `batched` where it has `stacked`, and
            what takes longer than `PROGRAM_SECONDS` as one program.

    Returns:
        Rows `engine`, `together` (networks as one program), `seconds` a retraining, `times_plain` (median, and
        `least` and `greatest` over `REPEATS` calls, disturbed ones left out), `gflops` (10⁹ floating-point operations a
        second of the two gradients of a step), `machine_gflops`, and `load` and `disturbed` of the calls, see
        `samattr_ref.support.timing`. The time to plan and to compile is not counted.
    """
    run = train(workload)
    flops = step_flops(run) * run.n_steps
    chain = stacked_chain(run)
    plans = {
        engine: plan_retraining(run, run.n_train, engine)
        for engine in engines
        if engine == "loop" or (engine == "batched") == (chain is None)
    }
    seconds_each = {e: seconds_a_step(run, e, plan.together) * run.n_steps for e, plan in plans.items()}
    plans = {e: plan for e, plan in plans.items() if plan.together * seconds_each[e] <= PROGRAM_SECONDS}
    sizes: dict[Engine, int] = {}
    for engine, plan in plans.items():
        step = plan.together * workers(run, engine)
        in_time = int(CALL_SECONDS / seconds_each[engine])
        sizes[engine] = min(run.n_train, step * max(1, round(min(count, in_time) / step)))
    plain: list[Timing] = []
    times: dict[Engine, list[Timing]] = {engine: [] for engine in plans}
    for _ in range(REPEATS):
        plain.append(timed(lambda: train_plainly(run), tries=1))
        for engine, size in sizes.items():
            groups = [torch.tensor([k]) for k in range(size)]
            call = partial(retrain, run, groups, engine, plans[engine].together)
            together = timed(call, tries=1)
            times[engine].append(replace(together, seconds=together.seconds / size))
    rate = machine_flops(run.parameters)
    rows = []
    for engine, plan in plans.items():
        pairs = undisturbed_pairs(plain, times[engine])
        ratios = sorted(one.seconds / other.seconds for one, other in pairs)
        each = sorted(own.seconds for _, own in pairs)[len(pairs) // 2]
        rows.append(
            {
                "engine": engine,
                "together": plan.together,
                "seconds": each,
                "times_plain": ratios[len(ratios) // 2],
                "least": ratios[0],
                "greatest": ratios[-1],
                "gflops": flops / each / 1e9,
                "machine_gflops": rate / 1e9,
                **noted(*(one for pair in pairs for one in pair)),
            }
        )
    return pd.DataFrame(rows)


def machine_flops(like: Tensor) -> float:
    """Floating-point operations a second of large matrix products of that type and device: the best of several."""
    a, b = torch.randn(2, PRODUCT, PRODUCT, dtype=like.dtype, device=like.device)
    return 2 * PRODUCT**3 / min(timed(lambda: a @ b, tries=1).seconds for _ in range(2 * REPEATS))


CASES = {
    "beyond": [
        Case(name, {"dtype": "float32"} | (CNN if name == "cifar10-cnn" else {}), {"count": count})
        for name, count in COUNTS.items()
    ]
}
