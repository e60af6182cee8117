"""Ground truth on a Ray cluster of two node processes whose processes are killed in the middle, again and again."""

import random
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil
import torch

import baselines
import samattr_ref as sr
from baselines import planning
from baselines.executors import executing
from baselines.on_ray import OnRay
from baselines.planning import Plan
from samattr_ref.support import store

SECONDS = 3.0
"""Between two kills, on average."""

TASK_FLOPS = 2e10
"""About a second of a task."""


@dataclass
class Killer:
    """Kills a worker process, or one time in five a whole node process, which then comes back.

    Attributes:
        cluster: The cluster, whose last node may die.
        rng: When and what.
        seconds: Between two kills, on average.
        killed: What was killed.
    """

    cluster: object
    rng: random.Random
    seconds: float = SECONDS
    killed: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Kill until told to stop."""
        while not self.stop.wait(self.rng.uniform(0.2, 2) * self.seconds):
            if self.rng.random() < 0.2:
                node = max(self.cluster.worker_nodes, key=lambda node: node.raylet_socket_name)
                self.cluster.remove_node(node, allow_graceful=False)
                self.cluster.add_node(num_cpus=1)
                self.killed.append("node")
                continue
            working = [process for process in psutil.process_iter() if _is_working(process)]
            if working:
                self.rng.choice(working).kill()
                self.killed.append("worker")


def _is_working(process: psutil.Process) -> bool:
    """Whether it is a worker in the middle of a call."""
    try:
        return process.name().startswith("ray::") and "_made" in "".join(process.cmdline())
    except psutil.Error:
        return False


@contextmanager
def two_nodes():
    """A cluster of a head and another node, a core each, on loopback."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    try:
        yield cluster
    finally:
        cluster.shutdown()


def campaign(count: int, folder, monkeypatch, seconds: float = SECONDS, least: int = 1, seed: int = 0) -> dict:
    """Retrain without each of `count` points, undisturbed in this process and on a cluster that is being killed.

    Returns:
        What was killed, how often each chunk was stored, and whether all is bit-equal.
    """
    monkeypatch.setattr(planning, "CHUNK_FLOPS", TASK_FLOPS)
    workload = sr.load_workload("digits-mlp").override(n_train=count, n_query=9, steps=100)
    monkeypatch.setenv("SAMATTR_STORE", str(folder / "undisturbed"))
    whole = baselines.leave_one_out(sr.train(workload), "loop")
    monkeypatch.setenv("SAMATTR_STORE", str(folder / "disturbed"))
    run, saved, save = sr.train(workload), [], store.save
    monkeypatch.setattr(
        store, "save", lambda path, name, *rest: saved.append(f"{path.parent.name}/{name}") or save(path, name, *rest)
    )
    began = time.monotonic()
    with two_nodes() as cluster, OnRay(cluster.address) as ray, executing(ray):
        killer = Killer(cluster, random.Random(seed), seconds)
        thread = threading.Thread(target=killer.run)
        thread.start()
        try:
            found = baselines.leave_one_out(run, "loop")
        finally:
            killer.stop.set()
            thread.join()
    chunks = [name for name in saved if name.startswith("truth/chunk")]
    plan = Plan(**store.read(found.path, "plan")[0])
    assert len(killer.killed) >= least, killer.killed
    assert len(chunks) == len(set(chunks)) == -(-(count + 1) // plan.chunk)
    assert torch.equal(found.parameters, whole.parameters) and found.sha256 == whole.sha256
    return {
        "retrainings": len(found.groups),
        "chunks": len(chunks),
        "workers killed": killer.killed.count("worker"),
        "nodes killed": killer.killed.count("node"),
        "seconds": round(time.monotonic() - began),
        "bit-equal": True,
    }
