"""Independent work on the machines of a Ray cluster: `--executor ray`.

Every call is a task. Where a worker process, its machine or the memory it had dies under it, or what it was sent or
gave back is lost with one, the call is made again, up to `RETRIES` times; a call that raises is not. What all calls
share, such as a run, is sent to each machine once, as Ray sends Python objects: between the processes of one's own
cluster, and never from a file. The driver stores what comes back, so that the machines need no common file system.

A task computes with as many threads as the driver would, so that its results are the same bit for bit on processors of
the same kind.
"""

import importlib
import importlib.util
import logging
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

import torch

from baselines.executors import Call
from samattr_ref.run import Run, as_device
from samattr_ref.support.device import device
from samattr_ref.support.errors import SamattrError, first_line
from samattr_ref.support.progress import silence
from samattr_ref.support.references import user_modules

RETRIES, PAUSE_SECONDS = 50, 0.5
"""How often a call is made again that a process or a machine died under, and after how long."""

IN_FLIGHT = 4
"""Calls that wait for each that is being made: what comes back must fit in the driver's memory."""

LOOPBACK = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"
"""Where a cluster of this machine alone listens. On Linux Ray takes 127.0.0.1 for the machine's outer address."""

LISTENING_SECONDS = 10.0
"""How long a cluster may take to be there."""

HANDED_ON = ("SAMATTR_", "PYTHONHASHSEED")
"""How names of the driver's environment begin that a worker has, too: where things lie, and how numbers are rounded."""


class OnRay:
    """A Ray cluster: the one at an address, or the cores of this machine.

    Args:
        address: Where the cluster is, `auto` for the one that this machine belongs to; None for a cluster of this
            machine's own cores that ends with the work.
        gpus: GPUs a call takes, a fraction for several on one; None for one where the driver computes on one.

    Raises:
        SamattrError: if Ray is missing, or no cluster is found there.
    """

    def __init__(self, address: str | None = None, gpus: float | None = None) -> None:
        if importlib.util.find_spec("ray") is None:
            raise SamattrError("the executor ray needs Ray, which is missing: pip install 'samattr[ray]'")
        self.address, self.gpus = address, (1.0 if device() == "cuda" else 0.0) if gpus is None else gpus
        if self.gpus < 0:
            raise SamattrError(f"a call cannot take {self.gpus} GPUs: give 0 or more")

    def __enter__(self) -> "OnRay":
        ray = _ray()
        _check_listening(self.address)
        given = {name: value for name, value in os.environ.items() if name.startswith(HANDED_ON)}
        local: dict[str, Any] = {} if self.address else {"include_dashboard": False, "_node_ip_address": LOOPBACK}
        try:
            ray.init(
                address=self.address or "local",
                runtime_env={"env_vars": given},
                logging_level=logging.ERROR,
                log_to_driver=False,
                **local,
            )
        except Exception as error:  # whatever Ray raises where there is no cluster
            raise SamattrError(f"no Ray cluster at {self.address or 'this machine'}: {first_line(error)}") from error
        for module in user_modules():
            ray.cloudpickle.register_pickle_by_value(module)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        _ray().shutdown()

    def map(self, call: Call, shared: Any, items: Sequence[Any], cores: int = 1) -> Iterator[tuple[int, Any]]:
        """See `baselines.executors.Executor`.

        Raises:
            SamattrError: what a call raised; that no machine has the cores or GPUs that a call takes; or, after all
                others were made, that a call could not be, as its processes died again and again.
        """
        ray = _ray()
        slots = self._slots([node["Resources"] for node in ray.nodes() if node["Alive"]], cores)
        task = ray.remote(_made).options(num_cpus=cores, num_gpus=self.gpus, max_retries=0)  # what is lost is seen here
        sent = ray.put(portable(shared))
        waiting = list(range(len(items)))[::-1]
        places: dict[Any, int] = {}
        lost: Counter[int] = Counter()
        given_up: SamattrError | None = None
        try:
            while waiting or places:
                while waiting and len(places) < IN_FLIGHT * slots:
                    place = waiting.pop()
                    places[task.remote(call, sent, items[place], cores)] = place
                (done,), _ = ray.wait(list(places))
                place = places.pop(done)
                try:
                    found = ray.get(done)
                except ray.exceptions.RayError as error:
                    lost[place] += 1
                    self._check_raised(error)
                    if lost[place] > RETRIES:
                        said = f"a call on the Ray cluster was lost {lost[place]} times, the last time by"
                        given_up = SamattrError(f"{said} {first_line(error)}")
                        continue
                    waiting.append(place)
                    time.sleep(PAUSE_SECONDS)
                    continue
                if isinstance(found, SamattrError):
                    raise found
                yield place, found
            if given_up is not None:
                raise given_up
        finally:
            for left in places:
                ray.cancel(left, force=True)

    def _check_raised(self, error: Any) -> None:
        """Raise what a call itself raised; nothing where the call was lost, which is made again."""
        ray = _ray()
        own = error.cause if isinstance(error, ray.exceptions.RayTaskError) else None
        if own is not None and not isinstance(own, ray.exceptions.RayError):
            raise error.as_instanceof_cause() from error

    def _slots(self, nodes: Sequence[dict[str, float]], cores: int) -> int:
        """How many calls the machines of a cluster make at once; refused where none has what one takes."""
        takes = {"CPU": float(cores), "GPU": self.gpus}
        slots = sum(int(min(has.get(name, 0) / each for name, each in takes.items() if each)) for has in nodes)
        if slots == 0:
            there = ", ".join(f"{has.get('CPU', 0):g} cores and {has.get('GPU', 0):g} GPUs" for has in nodes)
            raise SamattrError(f"a call takes {cores} cores and {self.gpus:g} GPUs, and the machines have {there}")
        return slots


def _check_listening(address: str | None) -> None:
    """Refuse an address where nothing listens, which Ray itself would look for during minutes."""
    host, colon, port = (address or "").rpartition(":")
    if not colon or not port.isdigit() or "://" in host:
        return
    try:
        with socket.create_connection((host, int(port)), timeout=LISTENING_SECONDS):
            pass
    except OSError as error:
        raise SamattrError(f"no Ray cluster at {address}: {first_line(error)}") from error


def _ray() -> Any:
    return importlib.import_module("ray")


def _made(call: Call, shared: Any, item: Any, cores: int) -> Any:
    """One call in a worker: what came of it, or the mistake that it raised."""
    silence()
    torch.set_num_threads(cores)
    try:
        return call(_here(shared), item)
    except SamattrError as error:
        return error


def portable(shared: Any) -> Any:
    """What is sent to other machines: of a run its tensors on the CPU, without what was computed about it."""
    if isinstance(shared, Run):
        tensors: dict[str, Any] = {**as_device(shared.tensors(), "cpu")}
        return replace(shared, built={}, **tensors)
    if isinstance(shared, tuple):
        return tuple(portable(part) for part in shared)
    return shared


_taken: list[tuple[Any, Any]] = []
"""What this worker was sent last, and what it made of it: the calls of a truth share one run and its network."""


def _here(shared: Any) -> Any:
    """What was sent, on this worker's device."""
    if not _taken or not _same(_taken[0][0], shared):
        _taken[:] = [(shared, _on_device(shared))]
    return _taken[0][1]


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, Run) and isinstance(second, Run):
        return first.key == second.key and torch.equal(first.parameters, second.parameters)
    return first is second


def _on_device(shared: Any) -> Any:
    if isinstance(shared, Run):
        tensors: dict[str, Any] = {**as_device(shared.tensors(), device())}
        return replace(shared, **tensors)
    if isinstance(shared, tuple):
        return tuple(_on_device(part) for part in shared)
    return shared
