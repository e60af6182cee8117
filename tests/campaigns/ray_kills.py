"""Ground truth on a Ray cluster of two node processes whose processes are killed in the middle, again and again."""

import math
import random
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

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


HEAD, OTHER = "127.0.0.2", "127.0.0.3"
"""Two hosts on loopback: Ray takes 127.0.0.1 for the machine's outer address."""


def start(host: str, *options: str) -> subprocess.Popen:
    """A node process with one core that ends when its raylet does."""
    program = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=1"]
    return subprocess.Popen(
        [*program, f"--node-ip-address={host}", "--disable-usage-stats", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill(node: subprocess.Popen) -> None:
    """SIGKILL a node with all its processes; some end by themselves meanwhile."""
    for process in [*psutil.Process(node.pid).children(recursive=True), node]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


@dataclass
class TwoNodes:
    """A cluster of a head and another node, a core each; the other may be killed, and comes back."""

    address: str
    other: subprocess.Popen

    def kill_other(self) -> None:
        """SIGKILL the other node with all its processes, and start it again."""
        kill(self.other)
        self.other.wait()
        self.other = start(OTHER, f"--address={self.address}")


def until_listening(port: int, head: subprocess.Popen) -> None:
    """Wait for the head to be there."""
    deadline = time.monotonic() + 60
    while True:
        with socket.socket() as tried:
            if tried.connect_ex((HEAD, port)) == 0:
                return
        assert head.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)


@contextmanager
def one_node():
    """Start a head: the address of its cluster."""
    with socket.socket() as free:
        free.bind((HEAD, 0))
        port = free.getsockname()[1]
    head = start(HEAD, "--head", f"--port={port}", "--include-dashboard=false")
    try:
        until_listening(port, head)
        yield f"{HEAD}:{port}"
    finally:
        kill(head)


@contextmanager
def two_nodes():
    """Start a head and another node."""
    with one_node() as address:
        nodes = TwoNodes(address, start(OTHER, f"--address={address}"))
        try:
            yield nodes
        finally:
            kill(nodes.other)


@dataclass
class Killer:
    """Kills a worker process, or one time in five a whole node process, which then comes back.

    Attributes:
        nodes: The cluster, whose other node may die.
        rng: When and what.
        seconds: Between two kills, on average.
        killed: What was killed.
        most: When it is enough.
    """

    nodes: TwoNodes
    rng: random.Random
    seconds: float = SECONDS
    killed: list[str] = field(default_factory=list)
    most: float = math.inf
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Kill until told to stop, or that is enough."""
        while len(self.killed) < self.most and not self.stop.wait(self.rng.uniform(0.2, 1.8) * self.seconds):
            if self.rng.random() < 0.2:
                self.nodes.kill_other()
                self.killed.append("node")
            elif working := [process for process in psutil.process_iter() if _is_working(process)]:
                self.rng.choice(working).kill()
                self.killed.append("worker")


def _is_working(process: psutil.Process) -> bool:
    """Whether it is a worker in the middle of a call."""
    try:
        return process.name().startswith("ray::") and "_made" in "".join(process.cmdline())
    except psutil.Error:
        return False


def campaign(
    count: int, folder, monkeypatch, seconds: float = SECONDS, least: int = 1, most: float = math.inf, seed: int = 0
) -> dict:
    """Retrain without each of `count` points, undisturbed in this process and on a cluster that is being killed.

    Returns:
        What was killed, how often each chunk was stored, and whether all is bit-equal.
    """
    monkeypatch.setattr(planning, "CHUNK_FLOPS", TASK_FLOPS)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # whoever may reach loopback
    workload = sr.load_workload("digits-mlp").override(n_train=count, n_query=9, steps=100)
    monkeypatch.setenv("SAMATTR_STORE", str(folder / "undisturbed"))
    whole = baselines.leave_one_out(sr.train(workload), "loop")
    monkeypatch.setenv("SAMATTR_STORE", str(folder / "disturbed"))
    run, saved, save = sr.train(workload), [], store.save
    monkeypatch.setattr(
        store, "save", lambda path, name, *rest: saved.append(f"{path.parent.name}/{name}") or save(path, name, *rest)
    )
    began = time.monotonic()
    with two_nodes() as nodes, OnRay(nodes.address) as ray, executing(ray):
        killer = Killer(nodes, random.Random(seed), seconds, most=most)
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
