"""`iterate`: a blocking iterator in one worker thread, read from a coroutine in batches.

The worker puts each item where the loop can take it, and wakes the loop only when that has nothing
left: so no item waits for another, and a quick source is read by the hundred for each wake-up.
"""

from __future__ import annotations

import asyncio
import collections
import itertools
import queue
from typing import TYPE_CHECKING, Any, TypeVar

from offloop.pools import _hogs

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from offloop.pools._calls import Calls

T = TypeVar("T")

AHEAD = 2
"""Batches under way: while the reader has one, the next is made."""


class _Pump:
    """Takes items from the source; `run` is the call that the worker runs all the time."""

    def __init__(self, source: Iterable[Any], batch: int, loop: asyncio.AbstractEventLoop) -> None:
        self._source = source
        self._batch = batch
        self._loop = loop
        self._is_stopped = False
        self.wanted: queue.SimpleQueue[bool] = queue.SimpleQueue()
        """The reader puts True for one batch more, False to end it."""
        self.items: collections.deque[Any] = collections.deque()
        """Appended by the worker, emptied by the reader."""
        self.is_idle = False
        """The reader has found nothing, and waits, or has gone. Set by it before it looks for the
        last time, cleared by who wakes it: so one of the two sees the other."""
        self.waiter: asyncio.Future[None] | None = None
        """Touched by the loop's thread alone."""

    def run(self) -> None:
        """In the worker: hand items out until the source or the reader has had enough."""
        items = iter(self._source)
        append = self.items.append
        try:
            while self.wanted.get() and not self._is_stopped:
                left = self._batch
                for item in itertools.islice(items, left):
                    append(item)
                    left -= 1
                    if self.is_idle:
                        self.is_idle = False
                        if self._is_stopped:
                            return
                        self._wake()
                if left:
                    return
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    def stop(self) -> None:
        """Have the worker end after the item it is at."""
        self._is_stopped = True
        self.is_idle = True  # written after: who sees this sees the other
        self.wanted.put(False)

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self.arrived)
        except RuntimeError:  # the loop has closed: nobody reads on
            self.stop()

    def arrived(self, _: object = None) -> None:
        """Wake the reader: there are items, or there will be no more."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


_hogs.declare(_Pump.run)  # what the source computes, it computes there because it has to


async def iterate(pool: Calls, source: Iterable[T], batch: int) -> AsyncGenerator[T]:
    """See `Pool.iterate`."""
    loop = asyncio.get_running_loop()
    pump = _Pump(source, batch, loop)
    for _ in range(AHEAD):
        pump.wanted.put(True)
    job = pool.run(pump.run)
    job.add_done_callback(pump.arrived)
    items, left = pump.items, batch
    try:
        while True:
            while items:
                item = items.popleft()
                left -= 1
                if not left:
                    left = batch
                    pump.wanted.put(True)
                yield item
            pump.waiter = loop.create_future()
            pump.is_idle = True
            if items:
                pump.is_idle = False
                continue
            if job.done():
                job.result()
                return
            await pump.waiter
    finally:
        pump.stop()
        if job.state == "queued" or pool._on_cancel != "wait":
            job.cancel()
        elif not job.done():
            await job  # the worker closes the source


async def iterate_inline(source: Iterable[T], batch: int) -> AsyncGenerator[T]:
    """Iterate in the loop's own thread; the loop gets its turn after each batch."""
    items = iter(source)
    try:
        for count, item in enumerate(items, 1):
            yield item
            if count % batch == 0:
                await asyncio.sleep(0)
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()
