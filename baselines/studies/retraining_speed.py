"""How fast exact retraining is: beside the plain loop, and beside the machine's own rate of matrix products."""

from collections.abc import Sequence
from functools import partial

import pandas as pd
import torch
from torch import Tensor

from baselines.engines import ENGINES, Engine, retrain, seconds_a_step, stacked_chain, workers
from baselines.measure import seconds
from baselines.planning import plan_retraining, step_flops
from baselines.studies.cases import Case
from baselines.studies.loo_and_lds import CNN
from baselines.studies.plain import train_plainly
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
        `least` and `greatest` over `REPEATS` calls), `gflops` (10⁹ floating-point operations a
        second of the two gradients of a step) and `machine_gflops`. The time to plan and to compile is not counted.
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
    times: dict[str, list[float]] = {name: [] for name in ("plain", *plans)}
    for _ in range(REPEATS):
        times["plain"].append(seconds(lambda: train_plainly(run)))
        for engine, size in sizes.items():
            groups = [torch.tensor([k]) for k in range(size)]
            call = partial(retrain, run, groups, engine, plans[engine].together)
            times[engine].append(seconds(call) / size)
    rate = machine_flops(run.parameters)
    rows = []
    for engine, plan in plans.items():
        ratios = sorted(plain / one for plain, one in zip(times["plain"], times[engine], strict=True))
        each = sorted(times[engine])[REPEATS // 2]
        rows.append(
            {
                "engine": engine,
                "together": plan.together,
                "seconds": each,
                "times_plain": ratios[REPEATS // 2],
                "least": ratios[0],
                "greatest": ratios[-1],
                "gflops": flops / each / 1e9,
                "machine_gflops": rate / 1e9,
            }
        )
    return pd.DataFrame(rows)


def machine_flops(like: Tensor) -> float:
    """Floating-point operations a second of large matrix products of that type and device: the best of several."""
    a, b = torch.randn(2, PRODUCT, PRODUCT, dtype=like.dtype, device=like.device)
    return 2 * PRODUCT**3 / min(seconds(lambda: a @ b) for _ in range(2 * REPEATS))


CASES = {
    "beyond": [
        Case(name, {"dtype": "float32"} | (CNN if name == "cifar10-cnn" else {}), {"count": count})
        for name, count in COUNTS.items()
    ]
}
