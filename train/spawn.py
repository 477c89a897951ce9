"""Starts the processes of a run on this node, shows what they say, and leaves none behind."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from caravan.errors import UserError
from caravan.terminal import DONE, INTERRUPTED, Progress
from caravan.train.config import TrainConfig

GRACE = 5.0  # seconds that the others have to end by themselves after one has failed
KEPT = 400  # last lines of a process that is not shown: its error is among them
PARENT, FAILURES = "CARAVAN_PARENT", "CARAVAN_FAILURES"  # tell a process of its parent, and of a pipe to it


def default_nproc() -> int:
    """Processes on this node: one a GPU; one where there is none."""
    import torch

    return max(torch.cuda.device_count(), 1)


def processors() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start(config: TrainConfig, argv: Sequence[str]) -> int:
    """Run `train ARGV...` in each of this node's processes; gives the exit code of the whole, as `run` does."""
    return run([sys.executable, "-m", "caravan.train.cli", *argv], config)


def run(command: Sequence[str], config: TrainConfig) -> int:
    """Run a command in each of this node's processes, with the environment that torchrun would set.

    The terminal belongs to rank 0; of the others the error of the one that failed first is shown. SIGTERM, SIGINT and
    SIGUSR1 are handed on and the processes waited for, as they save; at a second signal they are killed. When a process
    fails, the others end within seconds.

    The code is that of the first that failed, 128 + N where signal N killed it; 130 for a run that was interrupted.
    """
    nproc = config.nproc or default_nproc()
    host, port = _master(config)
    reading, writing = os.pipe()
    common = {"OMP_NUM_THREADS": str(max(processors() // nproc, 1))} | os.environ
    common |= {"MASTER_ADDR": host, "MASTER_PORT": str(port), PARENT: str(os.getpid()), FAILURES: str(writing)}
    common |= {"WORLD_SIZE": str(nproc * config.nnodes), "LOCAL_WORLD_SIZE": str(nproc)}
    children: list[Child] = []
    heard: list[int] = []
    try:
        with _handing_on(heard, children):
            for local in range(nproc):
                rank = config.node_rank * nproc + local
                children.append(Child(rank, command, common | {"RANK": str(rank), "LOCAL_RANK": str(local)}, writing))
            for number in heard:  # came while they were being started
                for child in children:
                    child.send(number)
            _wait(children, heard)
    finally:
        for child in children:
            child.end()
        os.close(writing)
        told = _read(reading)
    first = _first_failed(children, heard, told)
    if first is not None:
        return _show(first)
    return DONE if all(child.code == DONE for child in children) else INTERRUPTED


class Child:
    """One process: a session of its own, so that Ctrl-C reaches it through its parent alone."""

    def __init__(self, rank: int, command: Sequence[str], environ: Mapping[str, str], failures: int) -> None:
        self.rank = rank
        self.shown = rank == 0
        self.ended = False  # by `end`: its code tells nothing
        self._process = subprocess.Popen(
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=None if self.shown else subprocess.DEVNULL,
            stderr=None if self.shown else subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            pass_fds=(failures,),
        )
        self.lines: deque[str] = deque(maxlen=KEPT)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        if self._process.stderr is not None:
            with self._process.stderr as stream:
                own = f"[rank{self.rank}]: "  # torch's mark in tracebacks
                self.lines.extend(line.rstrip("\n").removeprefix(own) for line in stream)

    @property
    def code(self) -> int | None:
        """The exit code, minus N after signal N; None while it runs."""
        return self._process.poll()

    def send(self, number: int) -> None:
        """Send a signal, if it still runs."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it with all that it started, if it still runs."""
        if self.code is None:
            self.ended = True
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill it if it still runs; wait for its last words."""
        self.kill()
        self._process.wait()
        self._reader.join(timeout=1)


@contextmanager
def _handing_on(heard: list[int], children: list[Child]) -> Iterator[None]:
    """Within the block, hand signals on to the children and note them; at a second one kill the children.

    SIGUSR1 is only an early word of a SIGTERM to come.
    """

    def hand_on(number: int, _: FrameType | None) -> None:
        heard.append(number)
        patient = len([n for n in heard if n != signal.SIGUSR1]) < 2
        for child in children:
            if patient:
                child.send(number)
            else:
                child.kill()

    before = {n: signal.signal(n, hand_on) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(children: list[Child], heard: list[int]) -> None:
    """Until all have ended, or the time of those that outlived a failure is over."""
    until: float | None = None
    while any(child.code is None for child in children):
        if until is None and any(_failed(child, heard) for child in children):
            until = time.monotonic() + GRACE
        if until is not None and time.monotonic() > until:
            return
        time.sleep(0.05)


def _failed(child: Child, heard: list[int]) -> bool:
    """Whether it ended by itself, and badly: not as a run that was interrupted ends."""
    code = child.code
    return not child.ended and code not in (None, DONE, INTERRUPTED, *(-number for number in heard))


def _first_failed(children: list[Child], heard: list[int], told: str) -> Child | None:
    """Who failed first: a killed process, as others only lost it; else the first that told of an error.

    Where all fail in the same way, rank 0 speaks for them.
    """
    failed = {child.rank: child for child in children if _failed(child, heard)}
    for child in failed.values():
        if (child.code or 0) < 0:
            return child
    errors = {int(rank): error for rank, error in map(str.split, reversed(told.splitlines()))}
    order = [rank for rank in reversed(errors) if rank in failed]
    if order and errors[order[0]] == errors.get(0) and 0 in failed:
        return failed[0]
    return failed[order[0]] if order else next(iter(failed.values()), None)


def _show(child: Child) -> int:
    """Print the error of a process that is not on the terminal already; gives the code for it."""
    progress = Progress()
    for line in list(child.lines):  # a helper of it may still be writing
        progress.say(f"[rank {child.rank}] {line}")
    code = child.code or 0
    if code >= 0:
        return code
    memory = ", perhaps for want of memory" if code == -signal.SIGKILL else ""
    progress.say(f"error: rank {child.rank} was ended by {signal.Signals(-code).name}{memory}")
    return 128 - code


def _read(pipe: int) -> str:
    """What is in a pipe by now."""
    os.set_blocking(pipe, False)
    try:
        return os.read(pipe, 1 << 16).decode()
    except BlockingIOError:
        return ""
    finally:
        os.close(pipe)


def _master(config: TrainConfig) -> tuple[str, int]:
    """Where process 0 listens: a free port of this machine, or what `--master` says where there are several."""
    if config.nnodes == 1:
        with socket.create_server(("127.0.0.1", 0)) as free:
            return "127.0.0.1", int(free.getsockname()[1])
    host, _, port = config.master.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise UserError(f"{config.master!r} is not HOST:PORT", where="--master", fix="write node0.example:29500")
    return host.strip("[]"), int(port)
