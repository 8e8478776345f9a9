"""`map` over a pool: bounded, in any order or in that of the items, from any source."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any, TypeVar

from offloop.exceptions import PoolFull

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

    from offloop._offloop import Job
    from offloop.pools._calls import Calls

S = TypeVar("S")
T = TypeVar("T")

FULL = 0.01
"""Seconds after which a full queue is tried again when none of the own calls can be waited for."""


class _Source:
    """Items, one after the other, from whatever gives them."""

    def __init__(self, items: Iterable[Any] | AsyncIterable[Any]) -> None:
        self.error: BaseException | None = None
        self.is_over = False
        self._is_async = isinstance(items, AsyncIterable)
        self._items: Any
        self._items = aiter(items) if isinstance(items, AsyncIterable) else iter(items)
        self._pull: asyncio.Future[Any] | None = None

    def take(self, wake: Callable[[Any], object]) -> tuple[Any, ...]:
        """Give ``(item,)``, or ``()`` when there is none yet (`wake` is called) or any more."""
        try:
            if not self._is_async:
                return (next(self._items),)
            if self._pull is None:
                self._pull = asyncio.ensure_future(_step(self._items))
                self._pull.add_done_callback(wake)
                return ()
            if not self._pull.done():
                return ()
            pulled, self._pull = self._pull, None
            return (pulled.result(),)
        except (StopIteration, _Over):
            self.is_over = True
        except BaseException as error:  # noqa: BLE001 - raised after what was done before it
            self.is_over = True
            self.error = error
        return ()

    async def close(self) -> None:
        if self._is_async:
            try:
                await self._end_pull()
            finally:
                if hasattr(self._items, "aclose"):
                    await self._items.aclose()
        elif hasattr(self._items, "close"):
            self._items.close()

    async def _end_pull(self) -> None:
        """Call off what is pulled, and wait for its end; a cancel goes there, and is raised."""
        pull, cancelled = self._pull, None
        if pull is None:
            return
        pull.cancel()
        while not pull.done():
            try:
                await asyncio.wait([pull])
            except asyncio.CancelledError as error:
                cancelled = error
                pull.cancel()
        if not pull.cancelled():
            pull.exception()  # seen: nobody asks for it any more
        if cancelled is not None:
            raise cancelled


class _Over(Exception):
    """An asynchronous source has no more items: a Future cannot raise StopAsyncIteration well."""


async def _step(items: Any) -> Any:
    try:
        return await items.__anext__()
    except StopAsyncIteration:
        raise _Over from None


class _Run:
    """The calls of one `map` that are under way."""

    def __init__(self) -> None:
        self.finished: collections.deque[Job[Any]] = collections.deque()
        self.in_order: collections.deque[Job[Any]] = collections.deque()
        self.under_way: set[Job[Any]] = set()
        self._waiter: asyncio.Future[None] | None = None

    def landed(self, job: Job[Any]) -> None:
        self.under_way.discard(job)
        self.finished.append(job)
        self.wake(job)

    def wake(self, _: Any) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, limit: float | None = None) -> None:
        """Wait until a call has ended or the source has an item."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(limit):
                await self._waiter
        except TimeoutError:
            pass
        finally:
            self._waiter = None

    def cancel(self) -> None:
        for job in list(self.under_way):
            job.cancel()


async def amap(
    pool: Calls,
    fn: Callable[[S], T],
    items: Iterable[S] | AsyncIterable[S],
    ahead: int,
    ordered: bool,
) -> AsyncGenerator[T]:
    """See `Pool.amap`."""
    source, run = _Source(items), _Run()
    try:
        while True:
            await _fill(pool, fn, source, run, ahead, ordered=ordered)
            ready = run.in_order if ordered else run.finished
            if ready and ready[0].done():
                job = ready.popleft()
                yield job.result()
                del job
            elif run.under_way or not source.is_over:
                await run.wait()
            elif source.error is not None:
                raise source.error
            else:
                return
    finally:
        run.cancel()
        await source.close()


async def _fill(  # noqa: PLR0913 - all of one `map`
    pool: Calls,
    fn: Callable[[S], T],
    source: _Source,
    run: _Run,
    ahead: int,
    *,
    ordered: bool,
) -> None:
    """Start calls until so many are under way or wait to be taken."""
    while not source.is_over:
        waiting = len(run.in_order) if ordered else len(run.under_way) + len(run.finished)
        if waiting >= ahead:
            return
        taken = source.take(run.wake)
        if not taken:
            return
        job = await _started(pool, fn, taken[0], run)
        if ordered:
            run.in_order.append(job)


async def _started(pool: Calls, fn: Callable[[S], T], item: S, run: _Run) -> Job[T]:
    """Start one call; while the queue is full of others', wait."""
    while True:
        job = pool.run(fn, item)
        run.under_way.add(job)
        job.add_done_callback(run.landed)
        if not job.done() or job.cancelled() or not isinstance(job.exception(), PoolFull):
            return job
        job.remove_done_callback(run.landed)
        run.under_way.discard(job)
        await run.wait(FULL)
