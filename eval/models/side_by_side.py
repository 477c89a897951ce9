"""Many requests at a time from plain code: results come some at a time, as the server gives them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

from caravan.eval.models.client import ENOUGH, Client, Endpoint, opened

W = TypeVar("W")
R = TypeVar("R")
T = TypeVar("T")
PATIENCE = 0.2  # seconds until Ctrl-C is noticed


def side_by_side(
    endpoint: Endpoint, work: Sequence[W], ask: Callable[[Client, W], Awaitable[R]], *, proven: bool = False
) -> Iterator[list[tuple[W, R]]]:
    """Run `ask` for each piece of work, `endpoint.concurrency` at a time, begun in order; give what is finished.

    Everything that was finished is given before the first error of `ask` is raised, which ends the rest. Closing the
    iterator ends what is under way. The event loop has a thread of its own, so that this also works where one is
    running already (a notebook). `proven`: see `Client`.
    """
    if not work:
        return
    results: SimpleQueue[tuple[W, R] | None] = SimpleQueue()
    running: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = Future()
    ended: Future[None] = Future()

    async def worker(client: Client, waiting: Iterator[W]) -> None:
        for one in waiting:
            results.put((one, await ask(client, one)))

    async def everything() -> None:
        task = asyncio.current_task()
        assert task is not None  # it is one: it runs
        running.set_result((asyncio.get_running_loop(), task))
        async with opened(endpoint, enough=min(ENOUGH, len(work)), proven=proven) as client:
            waiting = iter(work)
            async with asyncio.TaskGroup() as group:
                for _ in range(min(endpoint.concurrency, len(work))):
                    group.create_task(worker(client, waiting))

    def run() -> None:
        try:
            asyncio.run(everything())
        except BaseExceptionGroup as errors:
            ended.set_exception(errors.exceptions[0])
        except BaseException as error:
            ended.set_exception(error)
            if not running.done():
                running.set_exception(error)
        else:
            ended.set_result(None)
        results.put(None)

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        while True:
            some = [_next(results)]
            while not results.empty():
                some.append(results.get())
            if got := [one for one in some if one is not None]:
                yield got
            if some[-1] is None:
                ended.result()
                return
    finally:
        loop, task = running.result()
        if thread.is_alive() and not loop.is_closed():
            _cancel(loop, task)
        thread.join()


def _next(results: "SimpleQueue[T]") -> T:
    """The next result. Waits a little at a time: a signal may reach the other thread, and then wakes nobody here."""
    while True:
        try:
            return results.get(timeout=PATIENCE)
        except Empty:
            continue


def _cancel(loop: asyncio.AbstractEventLoop, task: "asyncio.Task[None]") -> None:
    try:
        loop.call_soon_threadsafe(task.cancel)
    except RuntimeError:  # it has ended in between
        return
