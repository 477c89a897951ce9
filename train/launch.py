"""Joins this process to its run, whatever started it, and hears when the run is asked to stop.

torchrun, Kubernetes, Slurm and our own `spawn.start` differ in the environment that they set (`place`); from there on a
run is a `World`: who am I, on which device, and four ways to talk to the others.
"""

import hashlib
import json
import os
import re
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType, TracebackType
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from caravan.errors import UserError
from caravan.train.config import TrainConfig
from caravan.train.place import Place, found
from caravan.train.spawn import FAILURES, PARENT, processors

ARRIVAL = 300.0  # seconds in which all processes must have come
PATIENCE = timedelta(minutes=20)  # for a collective: one rank may download a model while the others wait


@dataclass(frozen=True)
class World:
    """The processes of a run, seen from one of them.

    `local_size` processes run on this node, one of `nodes`. `mesh` is what parameters are sharded over: one dimension
    "shard", or ("replicate", "shard"); None where one process needs no sharding. `gloo` is a group for checkpoints
    alone, as they are written while the others' collectives go on; None where no group was started.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    nodes: int
    device: torch.device
    mesh: DeviceMesh | None
    gloo: dist.ProcessGroup | None

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, as a new tensor; one process gives the tensor itself. Collective."""
        if self.size == 1:
            return tensor
        total = tensor.detach().clone()
        dist.all_reduce(total)
        return total

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process. Collective."""
        return bool(self.sum(torch.tensor([int(flag)])).item())

    def gather(self, value: Any) -> list[Any]:
        """Each process's value, in the order of ranks; values are what JSON can say. Collective."""
        own = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        if self.size == 1:
            return [json.loads(bytes(own.tolist()))]
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(lengths, torch.tensor([len(own)]))
        longest = max(int(n) for n in lengths)
        parts = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.size)]
        dist.all_gather(parts, torch.nn.functional.pad(own, (0, longest - len(own))))
        return [json.loads(bytes(p[: int(n)].tolist())) for p, n in zip(parts, lengths, strict=True)]

    def barrier(self) -> None:
        """Wait for all processes. Collective."""
        self.any(False)


@contextmanager
def join(config: TrainConfig) -> Iterator[World]:
    """Join the run that the environment names, or be a run of one process; the group ends with the block.

    One process in fp32 starts no group; bf16 and CPU offload need a mesh, of one process if there is no other.
    Raises `UserError` when the others do not come, or when this node's devices do not fit what was started.
    """
    _end_with_parent()
    threads = torch.get_num_threads()
    place = found(os.environ) or Place()
    well = False
    try:
        if place.size % config.replicas:
            raise UserError(
                f"{place.size} processes do not make {config.replicas} equal replicas",
                where="--replicas",
                fix="name a number that divides the processes",
            )
        device = _device(place)
        if place.size > 1 or config.precision != "fp32" or config.cpu_offload:
            _start_group(place, device)
            world = _world(place, device, config.replicas)
        else:
            world = World(0, 1, place.local_rank, 1, 1, device, None, None)
        torch.set_num_threads(_threads(world.local_size))
        yield world
        world.barrier()  # one that ends early takes what it hosts from the others
        well = True
    except BaseException as error:
        _tell_parent(place.rank, error)
        if isinstance(error, RuntimeError) and _is_lost(str(error)):
            raise UserError("another process of this run has ended", fix="its own error says why") from error
        raise
    finally:
        _end_group(well)
        torch.set_num_threads(threads)


def _threads(processes: int) -> int:
    """Threads of one of so many processes on this node: what OMP_NUM_THREADS says, which may be a list of levels."""
    told = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(told) if told.isdecimal() and int(told) else max(processors() // processes, 1)


def _device(place: Place) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    there = torch.cuda.device_count()
    index = place.local_rank
    if index >= there:
        if there > 1 or place.counted:
            raise UserError(
                f"this node shows {there} GPUs, process {index} of it has none",
                fix=f"start {there} processes a node at most",
            )
        index = 0  # Slurm shows each task its own GPU
    device = torch.device("cuda", index)
    torch.cuda.set_device(device)
    return device


def _start_group(place: Place, device: torch.device) -> None:
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    if place.size == 1:
        store = dist.HashStore()  # type: ignore[attr-defined]
    else:
        store = _meet_again(place) if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" else _meet(place)
    dist.init_process_group(backend, store=store, rank=place.rank, world_size=place.size, timeout=PATIENCE)


def _meet(place: Place) -> Any:
    """The store that process 0 hosts; all processes have come when it is given."""
    where = f"{place.host}:{place.port}"
    until = time.monotonic() + ARRIVAL
    while place.rank:  # asked here first, as torch prints pages about a host that is not up yet
        try:
            socket.create_connection((place.host, place.port), timeout=5).close()
            break
        except OSError as error:
            if time.monotonic() > until:
                raise UserError(
                    f"process 0 cannot be reached within {ARRIVAL:.0f} s ({error.strerror or error})",
                    where=where,
                    fix="check that it runs, its address (--master, or MASTER_ADDR and MASTER_PORT), and firewalls",
                ) from None
            time.sleep(0.2)
    try:
        left = timedelta(seconds=max(until - time.monotonic(), 1))
        store = dist.TCPStore(place.host, place.port, place.size, place.rank == 0, timeout=left)  # type: ignore[attr-defined]
    except dist.DistError as error:
        if "EADDRINUSE" in str(error):
            raise UserError(
                "the port is taken", where=where, fix="name another (--master, or MASTER_PORT) on all nodes"
            ) from None
        come = re.search(r"(\d+)/\d+ clients", str(error))
        raise UserError(
            f"{come[1]} of {place.size} processes came within {ARRIVAL:.0f} s" if come else str(error).splitlines()[0],
            where=where,
            fix="look at those that did not come",
        ) from None
    store.set_timeout(PATIENCE)
    return store


def _meet_again(place: Place) -> Any:
    """The store that torchrun hosts, as if it were new.

    It lives through restarts, and with it the addresses of processes that are gone, at which torch would wait for ever;
    nor do the nodes agree on how many restarts there were. So process 0 names each start, and tells those that ask
    with a word that nobody used before.
    """
    timeout = timedelta(seconds=ARRIVAL)
    args = (place.host, place.port, place.size, False)
    store = dist.TCPStore(*args, timeout=timeout, wait_for_workers=False)  # type: ignore[attr-defined]
    word = uuid.uuid4().hex
    if place.rank:
        store.set(f"asks/{place.rank}", word)
        name = store.get(f"answer/{word}").decode()
        store.set(f"{name}/{place.rank}", "has come")
    else:
        name, until = word, time.monotonic() + ARRIVAL
        missing = list(range(1, place.size))
        while missing:
            for rank in missing:
                if store.check([f"asks/{rank}"]):
                    store.set(f"answer/{store.get(f'asks/{rank}').decode()}", name)
            if time.monotonic() > until:
                raise UserError(f"ranks {missing} did not come within {ARRIVAL:.0f} s", fix="look at what they said")
            time.sleep(0.02)
            missing = [rank for rank in missing if not store.check([f"{name}/{rank}"])]
    store.set_timeout(PATIENCE)
    return dist.PrefixStore(name, store)  # type: ignore[attr-defined]


def _world(place: Place, device: torch.device, replicas: int) -> World:
    if replicas > 1:
        shape = (replicas, place.size // replicas)
        mesh = init_device_mesh(device.type, shape, mesh_dim_names=("replicate", "shard"))
    else:
        mesh = init_device_mesh(device.type, (place.size,), mesh_dim_names=("shard",))
    gloo = dist.new_group(backend="gloo", timeout=PATIENCE)
    alone = World(place.rank, place.size, place.local_rank, 1, 1, device, mesh, gloo)
    hosts = alone.gather(socket.gethostname())
    local = hosts.count(hosts[place.rank])
    if device.type == "cuda" and local < torch.cuda.device_count() and not place.counted:
        raise UserError(
            f"this node shows {torch.cuda.device_count()} GPUs, and the launcher started {local} processes on it",
            fix="start one a GPU (srun --ntasks-per-node, torchrun --nproc-per-node), or set CUDA_VISIBLE_DEVICES",
        )
    return World(place.rank, place.size, place.local_rank, local, len(set(hosts)), device, mesh, gloo)


def _end_group(well: bool) -> None:
    """Others may hang where this process failed: then its end must not wait for them."""
    if not dist.is_initialized():
        return
    # A thread of gloo takes the GIL to let go of the last collective's tensors. Were Python finalising by then, it
    # would end the thread, and C++ the process (SIGABRT); where a mesh holds the group, its threads outlive it.
    time.sleep(0.1)
    if well:
        dist.destroy_process_group()
        return
    ending = threading.Thread(target=dist.destroy_process_group, daemon=True)
    ending.start()
    ending.join(timeout=5)


def _is_lost(message: str) -> bool:
    """Whether gloo says that the process at the other end is gone."""
    return "gloo/transport" in message and re.search("closed by peer|reset by peer|Broken pipe", message) is not None


def _tell_parent(rank: int, error: BaseException) -> None:
    """`spawn.start` shows the error of the first that failed: exits come in another order than errors."""
    if FAILURES in os.environ:
        name = hashlib.blake2b(str(error).encode("utf-8", "replace"), digest_size=8).hexdigest()
        with suppress(OSError):  # the parent has gone
            os.write(int(os.environ[FAILURES]), f"{rank} {name}\n".encode())


def _end_with_parent() -> None:
    """A process that `spawn.start` started ends within a second or two of its parent, however that ended."""
    parent = int(os.environ.get(PARENT, 0))

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if parent:
        threading.Thread(target=watch, daemon=True).start()


class StopFlag:
    """Hears SIGTERM, SIGINT and SIGUSR1 (which Slurm sends before a limit) and keeps the time budget.

    Within the block a signal only sets the flag, so that the run ends its step, saves and stops; a second SIGINT raises
    KeyboardInterrupt. The budget, in minutes, counts from when the flag was made.
    """

    def __init__(self, time_budget: float | None = None) -> None:
        self._until = None if time_budget is None else time.monotonic() + time_budget * 60
        self._budget = time_budget
        self._reason: str | None = None
        self._interrupts = 0
        self._before: dict[int, Any] = {}

    def asked(self) -> str | None:
        """Why to stop; None while there is no reason to."""
        if self._reason is None and self._until is not None and time.monotonic() >= self._until:
            self._reason = f"the time budget of {self._budget:g} minutes is spent"
        return self._reason

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # others cannot have handlers
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, _: FrameType | None) -> None:
        self._interrupts += number == signal.SIGINT
        if self._interrupts > 1:
            raise KeyboardInterrupt
        self._reason = self._reason or f"{signal.Signals(number).name} was received"
