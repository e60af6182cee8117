"""What Ray takes from a worker with one core, and how much faster two of them retrain than one."""

import time
from contextlib import contextmanager

import torch

import samattr_ref as sr
from baselines.executors import HERE, Executor
from baselines.on_ray import OnRay
from baselines.planning import Plan
from baselines.truth import retrain_chunk
from samattr_ref.run import Run
from tests.campaigns.ray_kills import one_node, two_nodes

Part = tuple[Plan, list[torch.Tensor]]


def seconds_of(by: Executor, run: Run, parts: list[Part]) -> float:
    """Wall-clock seconds of retraining without all groups, each part with one thread."""
    began = time.monotonic()
    done = [place for place, _ in by.map(retrain_chunk, run, parts, 1)]
    assert sorted(done) == list(range(len(parts)))
    return time.monotonic() - began


@contextmanager
def ready(address: str, run: Run, parts: list[Part]):
    """A cluster whose workers have loaded torch and the run."""
    with OnRay(address) as ray:
        seconds_of(ray, run, parts)
        yield ray


def campaign(seconds: float, count: int, monkeypatch) -> dict:
    """Retrain in this process and on clusters of one and of two cores, in turn.

    Args:
        seconds: What a task takes, about.
        count: How many tasks.
        monkeypatch: Of pytest.

    Returns:
        Seconds of a task, Ray's overhead on one core, and how many times faster two cores are.
    """
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # whoever may reach loopback
    torch.set_num_threads(1)
    run = sr.train(sr.load_workload("digits-mlp").override(n_train=200))
    points = [torch.tensor([k % run.n_train]) for k in range(10_000)]
    few = 50
    plan = Plan("stacked", few, few)
    probe = [(plan, points[:few])]
    seconds_of(HERE, run, probe)
    size = few * max(1, round(seconds / seconds_of(HERE, run, probe)))
    parts = [(plan, points[:size])] * count
    here = seconds_of(HERE, run, parts)
    with one_node() as address, ready(address, run, parts[:2]) as ray:
        one = seconds_of(ray, run, parts)
    again = seconds_of(HERE, run, parts)
    with two_nodes() as nodes, ready(nodes.address, run, parts[:4]) as ray:
        two = seconds_of(ray, run, parts)
    return {
        "a task": f"{here / count:.2f} s, again {again / count:.2f} s",
        "overhead": f"{one / here - 1:+.1%}, of the other {one / again - 1:+.1%}",
        "two over one": f"{one / two:.2f}",
    }
