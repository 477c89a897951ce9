"""The engine: one map of a function over tasks, in this process or in worker processes.

Results come in the order of the tasks whatever the number of workers. Workers are spawned or forked from a clean
server, never forked from this process: polars forbids that once its threads run.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Literal, TypeVar

from caravan.cache import cache_folder
from caravan.errors import UserError

T = TypeVar("T")
R = TypeVar("R")
StartMethod = Literal["spawn", "forkserver"]


def default_workers() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(
    function: Callable[[T], R], tasks: Sequence[T], *, workers: int = 1, start_method: StartMethod | None = None
) -> Iterator[R]:
    """`function(task)` for each task, in order. `function` must be importable by name, tasks small and picklable.

    A worker that dies (out of memory, killed) raises `UserError`; shards that were finished stay.
    """
    workers = min(workers, len(tasks))
    if workers <= 1:
        yield from map(function, tasks)
        return
    available = multiprocessing.get_all_start_methods()
    method = start_method or ("forkserver" if "forkserver" in available else "spawn")
    # A fork server keeps the environment of its own start: the cache of today is handed over.
    begin = (_begin, (str(cache_folder()), os.getpid()))
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context(method), *begin)
    try:
        with _without_main():
            results = pool.map(function, tasks)  # starts the workers
        yield from results
    except BrokenProcessPool:
        raise UserError(
            "a worker process died (killed, or out of memory)",
            fix="run the same command again, it goes on with what was finished; --workers 1 needs the least memory",
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _without_main() -> Iterator[None]:
    """Start workers that do not run the user's script again: what they do is found by its module's name.

    So a script needs no `if __name__ == "__main__"`, and may come from standard input.
    """
    main = sys.modules["__main__"]
    hidden = {name: getattr(main, name) for name in ("__file__", "__spec__") if hasattr(main, name)}
    for name in hidden:
        setattr(main, name, None)
    try:
        yield
    finally:
        for name, value in hidden.items():
            setattr(main, name, value)


def _begin(cache: str, command: int) -> None:
    os.environ["CARAVAN_CACHE"] = cache
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers it
    threading.Thread(target=_end_with, args=(command,), daemon=True).start()


def _end_with(command: int) -> None:
    """A killed command must leave no workers behind; a fork server, their parent, outlives it as long as they do."""
    while is_alive(command):
        time.sleep(1.0)
    os._exit(1)


def is_alive(process: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True
