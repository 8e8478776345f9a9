"""`Pool`: a named bulkhead for offloaded calls, with a place, a limit and a queue of its own.

What a pool and its views can do stands in `Calls`; `offloop.pools` has the places. A pool is a
``concurrent.futures.Executor``, too.
"""

from __future__ import annotations

import asyncio
import collections
import datetime as dt
import functools
import itertools
import os
import threading
import time
import weakref
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Self, TypeVar

import offloop._offloop as _offloop  # noqa: PLR0402 - the other form imports `offload`
from offloop import _lifecycle
from offloop.exceptions import PlaceUnavailable, PoolFull
from offloop.pools import _base, _dispatch, _iterate, _map, _rules, _waiting, thread

if TYPE_CHECKING:
    import types
    from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator

    from offloop.pools._default_executor import DefaultExecutor

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")

On = Literal["auto", "thread", "process", "interpreter", "inline", "dask"]
Kind = Literal["cpu", "io", "nogil"]
OnCancel = Literal["wait", "abandon", "kill"]
Seconds = float | dt.timedelta

QUEUE = 10_000
"""Calls that may wait before `PoolFull`."""
IDLE = 30.0
"""Seconds after which a worker without work leaves. Arbitrary."""

_names = itertools.count(1)
pools: weakref.WeakSet[Pool] = weakref.WeakSet()
"""All pools that are alive, for the end of the interpreter."""


class PoolFuture(Future[T]):
    """The Future of a submitted call. In a worker, waiting for it is checked for a deadlock."""

    _submission: _offloop.Submission | None = None

    def __init__(self) -> None:
        super().__init__()
        # Where concurrent.futures.wait() and as_completed() leave word that they wait.
        self._waiters = _waiting.Waiters()

    def cancel(self) -> bool:
        """Call the call off if it has not begun."""
        cancelled = super().cancel()
        if cancelled and self._submission is not None and self._submission.cancel():
            self.set_running_or_notify_cancel()  # no worker will come to do it
        return cancelled

    def result(self, timeout: float | None = None) -> T:
        """Give the result of the call; WouldDeadlock where it could never come."""
        with _waiting.for_one(self):
            return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Give the exception of the call; WouldDeadlock where its end could never come."""
        with _waiting.for_one(self):
            return super().exception(timeout)


class Calls(_offloop.Runner):
    """What a pool and its views have in common: ways to have functions called."""

    _dispatcher: _dispatch.Dispatcher | None = None
    _limit: int
    _queue: int
    name: str

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have ``fn(*args, **kwargs)`` called; its ``concurrent.futures.Future`` has the outcome.

        The thread-safe side of `run`, for code without an event loop. The options of a view that
        concern the awaiter (`timeout`, `queue_timeout`, `on_cancel`) do not apply. The call runs
        in a copy of the present context variables.

        Raises PoolFull, Closed and ForkedProcessError at once. Waiting for the Future inside of a
        call of a pool that is full of such waiting raises WouldDeadlock.

        Cancellation: ``Future.cancel()`` calls a call off that has not begun.

        Thread safety: may be called from any thread.

        >>> Pool(limit=2).submit(pow, 2, 3).result()
        8
        """
        future: PoolFuture[T] = PoolFuture()
        submission, turns = self._submit(future, (fn, *args), kwargs or None)
        future._submission = submission
        if future.cancelled() and submission.cancel():  # the pool was closed just now
            future.set_running_or_notify_cancel()
        if turns is not None and self._dispatcher is not None:
            self._dispatcher.start(turns)
        thread.settle_failed()
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Give the results of ``fn`` for the items of `iterables`, in order, as `Executor.map`.

        Blocks the calling thread for each result; in coroutines use `amap`. Items are taken from
        `iterables` as far ahead as the queue has room, or `buffersize` says; the rest as results
        are taken, so they may be endless. `timeout` is in seconds from now, for all results.
        `chunksize` has no effect: calls are not pickled in chunks.

        Raises TimeoutError, and what a call raised when its result is taken.
        """
        del chunksize
        _base.check_callable(fn)
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        end = None if timeout is None else time.monotonic() + timeout
        arguments = zip(*iterables, strict=False)
        ahead = min(buffersize or self._queue, self._queue)
        futures: collections.deque[Future[T]] = collections.deque()
        self._submit_some(futures, fn, arguments, ahead)
        return self._results(futures, fn, arguments, ahead, end)

    def _submit_some(
        self,
        futures: collections.deque[Future[T]],
        fn: Callable[..., T],
        arguments: Iterator[tuple[Any, ...]],
        ahead: int,
    ) -> None:
        while len(futures) < ahead and (given := next(arguments, None)) is not None:
            while True:
                try:
                    futures.append(self.submit(fn, *given))
                except PoolFull:
                    if not futures:
                        raise
                    waiting = next((it for it in futures if not it.done()), None)
                    if waiting is None:
                        raise
                    waiting.exception()  # then there is room for one more
                else:
                    break

    def _results(
        self,
        futures: collections.deque[Future[T]],
        fn: Callable[..., T],
        arguments: Iterator[tuple[Any, ...]],
        ahead: int,
        end: float | None,
    ) -> Iterator[T]:
        try:
            while futures:
                first = futures.popleft()
                try:
                    value = [first.result(None if end is None else end - time.monotonic())]
                finally:
                    first.cancel()
                    del first
                self._submit_some(futures, fn, arguments, ahead)
                yield value.pop()  # nothing here keeps it while the caller looks at it
        finally:
            for future in futures:
                future.cancel()

    def amap(
        self,
        fn: Callable[[S], T],
        items: Iterable[S] | AsyncIterable[S],
        *,
        limit: int | None = None,
        ordered: bool = False,
    ) -> AsyncGenerator[T]:
        """Yield ``fn(item)`` for each of `items`, as the calls end.

        With `ordered` in the order of the items. `items` is iterated in the loop's thread, may be
        asynchronous and endless: at most `limit` calls (by default as many as the pool runs at
        once) are under way or wait to be taken. An exception of a call, or of `items`, is raised
        where its result would have come, after those that are there; the rest is cancelled. The
        source is closed at the end, also when the loop over this is left early; use
        ``contextlib.aclosing`` to have that done before going on.

        >>> [n async for n in Pool(limit=2).amap(abs, [-1, -2, -3], ordered=True)]
        [1, 2, 3]
        """
        _base.check_callable(fn)
        ahead = self._limit if limit is None else _positive(limit, "limit")
        return _map.amap(self, fn, items, ahead, ordered)

    def iterate(self, source: Iterable[T], *, batch: int = 100) -> AsyncGenerator[T]:
        """Yield the items of `source`, which is iterated in one worker thread.

        For generators that block: rows of a cursor, lines of a file. All of it, its end too, runs
        in one thread and in one copy of the context variables. Items come in batches, at most
        `batch` at once, but none waits for others to come; at most two batches are ahead of the
        reader. The worker is taken until the end.

        Raises what `source` raises, after the items before it. Leaving the loop early closes
        `source` in its thread; use ``contextlib.aclosing`` to have that done before going on.

        Only for pools of threads.

        >>> [n async for n in Pool(limit=1).iterate(range(3))]
        [0, 1, 2]
        """
        if self._dispatcher is not None:
            raise PlaceUnavailable("only a pool of threads can keep an iterator in one place")
        if not hasattr(source, "__iter__") and not hasattr(source, "__getitem__"):
            raise TypeError(f"an iterable is needed, not {type(source).__name__}")
        return _iterate.iterate(self, source, _positive(batch, "batch"))

    def view(
        self,
        *,
        limit: int | None = None,
        priority: int | None = None,
        timeout: Seconds | None = None,
        queue_timeout: Seconds | None = None,
        on_cancel: OnCancel | None = None,
    ) -> View:
        """Give the same pool on other terms; what is not given stays as it is here.

        `limit` is how many calls of the view may be in the pool at once, besides the pool's own
        limit. `priority` is from -128 to 127, 0 by default; a step is worth one second of
        waiting, so nobody waits for ever. `timeout` is in seconds from the start of the Job,
        queue and run together: then the await raises JobTimeout at once; a function that runs
        goes on and keeps its place until it ends, except in a process, which is killed.
        `queue_timeout` is for the wait alone. `on_cancel` says what a cancel does to a function
        that runs: ``"wait"`` for it, ``"abandon"`` it, ``"kill"`` its process.

        >>> fast = Pool("db", limit=8).view(priority=10, timeout=1, on_cancel="abandon")
        >>> await fast.run(pow, 2, 3)
        8
        """
        given: dict[str, Any] = {
            "priority": priority,
            "timeout": timeout,
            "queue_timeout": queue_timeout,
            "on_cancel": on_cancel,
        }
        options = {name: value for name, value in given.items() if value is not None}
        if limit is not None:
            options["gate"] = (_positive(limit, "limit"), self._queue)
        return View(self, options)


class View(Calls):
    """A pool on terms of its own; made by `Pool.view`."""

    def __init__(self, base: Calls, options: dict[str, Any]) -> None:
        self.name: str = base.name
        self._limit = options.get("gate", (base._limit,))[0]
        self._queue = base._queue
        self._dispatcher = base._dispatcher
        self._derive(base, options)

    def __repr__(self) -> str:
        return f"<View of Pool {self.name!r}>"


class Pool(Calls, Executor):
    """A named group of workers with a limit and a queue of its own.

    Bulkheads keep one slow thing from eating the workers of all others: one pool for the
    database, another for that printer. Workers start when they are needed and leave when they
    have had nothing to do for `idle` seconds.

    `on` is the place: ``"thread"`` (the default), ``"process"``, ``"interpreter"`` (Python 3.14
    and newer), ``"inline"`` (the loop's own thread, for tests), ``"dask"`` (see `dask`), any
    ``concurrent.futures.Executor``, or ``"auto"``, which goes by `kind`: ``"io"`` and ``"nogil"``
    to a thread, ``"cpu"`` to an interpreter or a process. `limit` is how many calls run at once
    (threads: 40, else: the number of cores), `queue` how many may wait. `initializer` is called
    with `initargs` in each worker before its first call. Other keywords are for the place:
    processes take `max_jobs_per_worker` and `max_memory_bytes`, an executor `shutdown`.

    Raises PlaceUnavailable where this Python has no such place.

    As a context manager it waits at its end for all calls, as executors do; in coroutines use
    ``async with``.

    Thread safety: may be used from any number of threads and loops at once.

    >>> async with Pool("db", limit=8) as db:
    ...     await db.run(pow, 2, 3)
    8
    """

    def __init__(  # noqa: PLR0913 - each is optional
        self,
        name: str | None = None,
        *,
        on: On | Executor = "thread",
        kind: Kind | None = None,
        limit: int | None = None,
        queue: int = QUEUE,
        idle: float = IDLE,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        **options: Any,
    ) -> None:
        _lifecycle.make_ready()
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if isinstance(queue, bool) or not isinstance(queue, int) or queue < 0:
            raise ValueError(f"queue must be an int, 0 or more, not {queue!r}")
        place = "cluster" if isinstance(on, Executor) else _rules.resolve(on, kind).place
        self.name: str = name if name is not None else f"pool-{next(_names)}"
        self.on = "interpreter" if place == "cpu" else place
        if limit is None:
            limit = 40 if place == "thread" else os.cpu_count() or 1
        self._limit = _positive(limit, "limit")
        self._queue = queue
        setup = None
        hooks = None
        if place == "thread":
            if options:
                raise TypeError(f"a pool of threads has no option {next(iter(options))!r}")
            setup = None if initializer is None else (initializer, tuple(initargs))
        else:
            if isinstance(on, Executor):
                options["executor"] = on
            plan = _base.Plan(self.name, self._limit, initializer, tuple(initargs), idle, options)
            self._dispatcher = _dispatch.Dispatcher(_base.place_class(place)(plan))
            hooks = (self._dispatcher.start, self._dispatcher.cancel)
        self._open(self.name, self._limit, queue, idle, hooks, setup)
        pools.add(self)

    @classmethod
    def dask(
        cls,
        client: object = None,
        *,
        name: str | None = None,
        limit: int | None = None,
        queue: int = QUEUE,
        **options: Any,
    ) -> Self:
        """Make a pool over a dask cluster; needs ``pip install 'offloop[dask]'``.

        `client` is the address of a scheduler, a ``distributed.Client`` (a synchronous one, which
        stays open), or None for a cluster of `limit` threads in this process. It is connected by a
        thread when the first call comes. `priority`, `retries`, `resources`, `workers` and
        `allow_other_workers` go to ``Client.submit``; equal calls are never taken for one. Calls
        of which dask loses the worker or the scheduler fail with WorkerDied.

        Cancellation: the call is cancelled in the cluster; what runs on a worker runs to its end.
        """
        return cls(name, on="dask", limit=limit, queue=queue, client=client, **options)

    def resize(self, limit: int) -> None:
        """Let `limit` calls run at once from now on; those that run go on.

        Thread safety: may be called from any thread.
        """
        self._limit = _positive(limit, "limit")
        turns = self._resize(self._limit)
        if self._dispatcher is not None:
            self._dispatcher.place.resize(self._limit)
            self._dispatcher.start(turns)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Refuse further calls; wait for those that are there, as executors do.

        With `cancel_futures` those that have not begun are called off.
        """
        self._cancel_waiting(self._close(cancel_futures))
        if wait:
            self._wait(None)
            self._close_place()
        elif self._dispatcher is not None:
            threading.Thread(target=self._close_place_when_empty, daemon=True).start()

    def close(self, grace: float = 1.0) -> list[str]:
        """Refuse further calls, call waiting ones off and give running ones `grace` seconds.

        Returns what runs even then, in words. Those go on, unnoticed, where they cannot be
        stopped. Blocks the thread for `grace` at most; in coroutines use `aclose`. Idempotent.

        Thread safety: may be called from any thread.

        >>> Pool(limit=2).close()
        []
        """
        self._cancel_waiting(self._close(True))
        ended = self._wait(grace)
        left = [
            f"{function} in {thread} for {seconds:.1f} s"
            for function, thread, seconds, _ in self._running()
        ]
        if self._dispatcher is not None:
            if not ended:
                calls = self._dispatcher.cancel_all()
                left += [
                    f"{getattr(call.fn, '__qualname__', call.fn)} in {self.on}" for call in calls
                ]
                self._dispatcher.place.kill()
            self._close_place()
        return left

    async def aclose(self, grace: float = 1.0) -> list[str]:
        """As `close`, without blocking the loop."""
        return await _closer().run(self.close, grace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        await _closer().run(self.shutdown)

    def as_default_executor(self) -> DefaultExecutor:
        """Make this pool the default executor of the running loop, and give what does it.

        Then ``asyncio.to_thread`` and ``loop.run_in_executor(None, …)`` run here. Without a
        running loop, hand the result to ``loop.set_default_executor``. The end of the loop does
        not close the pool.
        """
        # Here, because importing a ThreadPoolExecutor fails once the interpreter has begun to exit.
        from offloop.pools._default_executor import DefaultExecutor

        executor = DefaultExecutor(self)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return executor
        loop.set_default_executor(executor)
        return executor

    def __repr__(self) -> str:
        return f"<Pool {self.name!r} on {self.on}>"

    def _cancel_waiting(self, futures: Iterable[Future[Any]]) -> None:
        for future in futures:
            future.cancel()
        thread.settle_failed()

    def _kill(self) -> None:
        """End what is left at the exit of the interpreter."""
        if self._dispatcher is not None:
            self._dispatcher.place.kill()

    def _close_place(self) -> None:
        if self._dispatcher is not None:
            self._dispatcher.place.close()

    def _close_place_when_empty(self) -> None:
        self._wait(None)
        self._close_place()


@functools.cache
def _closer() -> Pool:
    """Give the pool that waits for the end of others."""
    return Pool("close", limit=100)


def _positive(value: int, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")
    return value


_lifecycle.make_ready()
