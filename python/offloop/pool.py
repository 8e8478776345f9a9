"""`Pool`: a named bulkhead for offloaded calls, with a place, a limit and a queue of its own.

What a pool and its views can do stands in `offloop.pools._calls`, the places beside it. A pool is
a ``concurrent.futures.Executor``, too.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import os
import threading
import weakref
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, Literal, Self

from offloop import _lifecycle
from offloop.pools import _base, _dispatch, _rules, _worker, thread
from offloop.pools._calls import Calls, View, positive

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Iterable

    from offloop.pools._default_executor import DefaultExecutor

__all__ = ["Calls", "Pool", "View"]

On = Literal["auto", "thread", "process", "interpreter", "inline", "dask"]
Kind = Literal["cpu", "io", "nogil"]

QUEUE = 10_000
"""Calls that may wait before `PoolFull`."""
IDLE = 30.0
"""Seconds after which a worker without work leaves. Arbitrary."""

_names = itertools.count(1)
pools: weakref.WeakSet[Pool] = weakref.WeakSet()
"""All pools that are alive, for the end of the interpreter."""


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
        self._limit = positive(limit, "limit")
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
        self._limit = positive(limit, "limit")
        turns = self._resize(self._limit)
        if self._dispatcher is not None:
            self._dispatcher.place.resize(self._limit)
            self._dispatcher.start(turns)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Refuse further calls; wait for those that are there, as executors do.

        With `cancel_futures` those that have not begun are called off. Raises WouldDeadlock in a
        call of this very pool that would wait for itself.
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
                left += [f"{_worker.full_name(call.fn)} in {self.on}" for call in calls]
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
        """End what is left at the exit of the interpreter, and name it."""
        if self._dispatcher is None:
            return
        if self.on != "interpreter":  # which waits for its calls once more, and names them then
            for call in self._dispatcher.under_way():
                logging.getLogger("offloop").warning(
                    "left %s running at exit: pool %r on %s",
                    _worker.full_name(call.fn),
                    self.name,
                    self.on,
                )
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


_lifecycle.make_ready()
