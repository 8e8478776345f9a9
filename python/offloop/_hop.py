"""One hop: a blocking call of Python's for files, run by a thread, and what a cancel does to it."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from offloop.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

T = TypeVar("T")

run = Pool("files", limit=32, queue=1_000_000).run
"""Calls a function on the threads for files. They are no other pool's: what hangs on a pipe or a
server that has gone takes no thread from offloaded calls, and those take none from files. As many
as core has for whole operations, and a queue as long; `src/core/files/lane.rs` says why."""


def hop(
    function: Callable[..., T], *args: Any, executor: Executor | None = None, **keywords: Any
) -> Any:
    """Make an awaitable of a blocking call; a cancel waits until a call that runs is over."""
    if executor is None:
        return run(function, *args, **keywords)
    return _by_executor(executor, function, args, keywords)


def started(
    function: Callable[..., T], *args: Any, executor: Executor | None = None
) -> asyncio.Future[T]:
    """Begin a blocking call; a cancel of the future does not wait."""
    if executor is None:
        return run(function, *args).start()
    return asyncio.get_running_loop().run_in_executor(executor, function, *args)


async def _by_executor(
    executor: Executor, function: Callable[..., T], args: Any, keywords: Any
) -> T:
    loop = asyncio.get_running_loop()
    future = loop.run_in_executor(executor, lambda: function(*args, **keywords))
    return await settled(future)


async def settled(future: asyncio.Future[T]) -> T:
    """Await a future without cancelling it: a cancel is raised when the future is over."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return future.result()
    if not future.cancelled():
        future.exception()  # seen: the cancel is what the caller hears of
    raise cancelled


class Turn:
    """Lets one operation at a time have a file, in the order in which they came.

    The awaiters may be of several loops, so asyncio's lock is none for it. Without contention it
    costs as much as taking a `threading.Lock`.
    """

    __slots__ = ("_busy", "_waiting")

    def __init__(self) -> None:
        self._busy = threading.Lock()
        self._waiting: deque[asyncio.Future[None]] = deque()

    def take_now(self) -> bool:
        """Take the turn if nobody has it."""
        return self._busy.acquire(blocking=False)

    async def take(self) -> None:
        """Wait for the turn."""
        if self._busy.acquire(blocking=False):
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        # It may have come free between the two lines above.
        if self._busy.acquire(blocking=False):
            self._pass_on()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.release()  # it was handed over at the same moment
            raise

    def release(self) -> None:
        """Hand the turn to whoever has waited longest."""
        self._pass_on()

    def _pass_on(self) -> None:
        while True:
            try:
                future = self._waiting.popleft()
            except IndexError:
                self._busy.release()
                if self._waiting and self._busy.acquire(blocking=False):
                    continue
                return
            loop = future.get_loop()
            if loop is asyncio._get_running_loop():
                if not future.done():
                    future.set_result(None)
                    return
                continue
            try:
                loop.call_soon_threadsafe(self._hand_over, future)
            except RuntimeError:  # that loop has closed
                continue
            return

    def _hand_over(self, future: asyncio.Future[None]) -> None:
        if future.done():
            self._pass_on()
        else:
            future.set_result(None)
