"""`Calls`: what a pool and its views have in common, the ways to have functions called.

Also `View`, a pool on other terms, and the Future of a submitted call. What owns a place, a limit
and a queue is `offloop.pool`.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import AsyncIterable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

import offloop._offloop as _offloop  # noqa: PLR0402 - the other form imports `offload`
from offloop.exceptions import PlaceUnavailable
from offloop.pools import _base, _dispatch, _executor_map, _iterate, _map, _waiting, thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")

OnCancel = Literal["wait", "abandon", "kill"]
Seconds = float | dt.timedelta


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
    _on_cancel: OnCancel = "wait"
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
        are taken, so they may be endless. While calls of others fill the queue, it is waited for
        with the results. `timeout` is in seconds from now, for all results. `chunksize` has no
        effect: calls are not pickled in chunks.

        Raises TimeoutError, and what a call raised when its result is taken.
        """
        del chunksize
        _base.check_callable(fn)
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        end = None if timeout is None else time.monotonic() + timeout
        most = self._queue + self._limit
        ahead = most if buffersize is None else min(buffersize, most)
        run = _executor_map.Run(self, fn, zip(*iterables, strict=False), ahead)
        run.fill()
        return run.results(end)

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
        if not isinstance(items, AsyncIterable):
            _check_iterable(items)
        ahead = self._limit if limit is None else positive(limit, "limit")
        return _map.amap(self, fn, items, ahead, ordered)

    def iterate(self, source: Iterable[T], *, batch: int = 100) -> AsyncGenerator[T]:
        """Yield the items of `source`, which is iterated in one worker thread.

        For generators that block: rows of a cursor, lines of a file. All of it, its end too, runs
        in one thread and in one copy of the context variables. Items come in batches, at most
        `batch` at once, but none waits for others to come; at most two batches are ahead of the
        reader. The worker is taken until the end.

        Raises what `source` raises, after the items before it. Leaving the loop early closes
        `source` in its thread, after the item it is at; use ``contextlib.aclosing`` to have that
        done before going on. A view with ``on_cancel="abandon"`` does not wait for it.

        Only for pools of threads, and inline ones, which iterate in the loop's thread.

        >>> [n async for n in Pool(limit=1).iterate(range(3))]
        [0, 1, 2]
        """
        _check_iterable(source)
        positive(batch, "batch")
        if self._dispatcher is None:
            return _iterate.iterate(self, source, batch)
        if self._dispatcher.place.kind == "inline":
            return _iterate.iterate_inline(source, batch)
        raise PlaceUnavailable("only a pool of threads can keep an iterator in one place")

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
            options["gate"] = (positive(limit, "limit"), self._queue)
        return View(self, options)


class View(Calls):
    """A pool on terms of its own; made by `Pool.view`."""

    def __init__(self, base: Calls, options: dict[str, Any]) -> None:
        self.name: str = base.name
        self._limit = options.get("gate", (base._limit,))[0]
        self._queue = base._queue
        self._on_cancel = options.get("on_cancel", base._on_cancel)
        self._dispatcher = base._dispatcher
        self._derive(base, options)

    def __repr__(self) -> str:
        return f"<View of Pool {self.name!r}>"


def positive(value: int, name: str) -> int:
    """Give an int of at least 1; TypeError or ValueError for what is none."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")
    return value


def _check_iterable(source: object) -> None:
    if not hasattr(source, "__iter__") and not hasattr(source, "__getitem__"):
        raise TypeError(f"an iterable is needed, not {type(source).__name__}")
