"""The two sides of many requests that run in tasks of the loop: their source, and their sender.

The source is pulled in chunks, as far as the batch wants more. The sender makes a Job of each
request that Rust cannot send by itself, because functions of the user's are called around it or
because it is a download, when the schedule says that its turn has come.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterable, Awaitable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from offloop.exceptions import LifecycleError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from offloop import _offloop
    from offloop._offloop import Fetched, Job, Request

Source: TypeAlias = "Iterable[str | Request] | AsyncIterable[str | Request]"

TURN = 0.001
"""Seconds that a source, a sender or a reader that does not wait may keep the loop."""
_SENT = 32
"""Requests that are sent between two looks at the clock; arbitrary."""


class Batch(Protocol):
    """Many requests: `_offloop.Batch`, or those that workers make."""

    def wanted(self) -> int | None:
        """Give how many more are wanted; None when none will be any more."""
        ...

    def room(self) -> Awaitable[None]:
        """Wait until more are wanted, or nobody wants any more."""
        ...

    def feed(self, given: list[Any]) -> None:
        """Take these in."""
        ...

    def end(self) -> None:
        """Note that there will be no more."""
        ...

    def take(self, most: int) -> list[Fetched] | None:
        """Give up to `most` results; None after the last one."""
        ...

    def ready(self) -> Awaitable[None]:
        """Wait until there are results, or will be none."""
        ...

    def close(self) -> None:
        """Stop everything."""
        ...

    def stats(self) -> dict[str, int]:
        """Count what has been done."""
        ...


async def pull(source: Source, batch: Batch) -> None:
    """Bring what is wanted from `source` to `batch`, until either ends."""
    try:
        if isinstance(source, AsyncIterable):
            await _pull_async(source, batch)
        else:
            await _pull_sync(source, batch)
    finally:
        batch.end()


async def _pull_sync(source: Iterable[str | Request], batch: Batch) -> None:
    iterator = iter(source)
    try:
        ended = False
        while not ended and (wanted := batch.wanted()) is not None:
            if wanted:
                ended = _feed_some(iterator, batch, wanted)
                await asyncio.sleep(0)
            else:
                await batch.room()
    finally:
        if inspect.isgenerator(iterator):
            iterator.close()


def _feed_some(iterator: Iterator[str | Request], batch: Batch, wanted: int) -> bool:
    """Feed up to `wanted` items, for a millisecond; True when there are no more."""
    some = list[Any]()
    until = time.perf_counter() + TURN
    try:
        for item in iterator:
            some.append(item)
            if len(some) >= wanted or time.perf_counter() > until:
                return False
        return True
    finally:
        # Also when the iterator raises: what it gave before is fetched.
        batch.feed(some)


async def _pull_async(source: AsyncIterable[str | Request], batch: Batch) -> None:
    iterator: Any = aiter(source)
    some = list[Any]()
    loop = asyncio.get_running_loop()

    def feed() -> None:
        if some:
            batch.feed(some)
            some.clear()

    try:
        while (wanted := batch.wanted()) is not None:
            if not wanted:
                await batch.room()
            until = time.perf_counter() + TURN
            for _ in range(wanted):
                some.append(await anext(iterator))
                if len(some) == 1:
                    # What comes without a pause goes together, when it pauses.
                    loop.call_soon(feed)
                if time.perf_counter() > until:
                    await asyncio.sleep(0)
                    until = time.perf_counter() + TURN
            feed()
    except StopAsyncIteration:
        pass
    finally:
        feed()
        if inspect.isasyncgen(iterator):
            await iterator.aclose()


Begin: TypeAlias = "Callable[[int, Any], Job[Any]]"
"""Makes the Job of the request with this index, for which this was given."""
Size: TypeAlias = "Callable[[Any], int]"
"""Gives how many bytes came, of what a Job gave."""


class Sender:
    """Makes a Job of each request whose turn has come, and tells the batch of its end."""

    def __init__(self, batch: _offloop.Batch, begin: Begin, size: Size) -> None:
        self._batch = batch
        self._begin = begin
        self._size = size
        self._under_way = dict[Any, int]()
        """The index of each Job."""
        self._one_is_over = asyncio.Event()

    async def run(self) -> None:
        """Send until nobody's turn will come any more; then, or when cancelled, stop the rest."""
        try:
            while (some := self._batch.begun(_SENT)) is not None:
                until = time.perf_counter() + TURN
                for index, given in some:
                    self._send(index, given)
                    if time.perf_counter() > until:
                        await asyncio.sleep(0)
                        until = time.perf_counter() + TURN
                if not some:
                    await self._batch.beginning()
        finally:
            await self._stop()

    def _send(self, index: int, given: Any) -> None:
        try:
            job = self._begin(index, given)
        except Exception as error:  # noqa: BLE001 - it is this request's, whatever it is
            self._batch.finish(index, None, error, 0)
            return
        self._under_way[job] = index
        job.add_done_callback(self._over)

    def _over(self, job: Job[Any]) -> None:
        index = self._under_way.pop(job)
        self._one_is_over.set()
        raised = asyncio.CancelledError() if job.cancelled() else job.exception()
        if isinstance(raised, asyncio.CancelledError):
            raised = LifecycleError("it was cancelled by what is called around it")
        result = job.result() if raised is None else None
        self._batch.finish(index, result, raised, 0 if raised else self._size(result))

    async def _stop(self) -> None:
        """Cancel what is under way, and wait until each has settled what it has to."""
        for job in list(self._under_way):
            job.cancel()
        while self._under_way:
            self._one_is_over.clear()
            await self._one_is_over.wait()
