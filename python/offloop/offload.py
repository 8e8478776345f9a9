"""Offloading: blocking calls leave the event loop's thread and come back as one awaitable.

`run` is the extension's own function: a Python function around it would cost a tenth of a call.
What is more than one call stands in `offloop.pool`; the functions here use the default pools.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from offloop import _lifecycle, _offloop
from offloop._offloop import run
from offloop.pool import Pool
from offloop.pools import _rules
from offloop.pools._current import CurrentJob, check_cancelled, current_job
from offloop.pools._offloaded import Offloaded, explain, offloaded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
    from concurrent.futures import Future

    from offloop._offloop import Job
    from offloop.pools._calls import Calls

__all__ = [
    "CurrentJob",
    "Offloaded",
    "check_cancelled",
    "current_job",
    "explain",
    "iterate",
    "map",
    "offloaded",
    "run",
    "submit",
    "to_interpreter",
    "to_process",
    "to_thread",
]

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")


@functools.cache
def default_pool(place: str) -> Pool:
    """Give the pool that is used where none is named, one for each place."""
    names = {"thread": "io"}
    return Pool(names.get(place, place), on=place)  # type: ignore[arg-type]


def to_thread(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Job[T]:
    """Awaiting it gives what ``fn(*args, **kwargs)`` returns, called in a worker thread.

    As `run`, whatever was declared of the function.

    >>> await to_thread(sum, [1, 2, 3])
    6
    """
    return pool_of_threads().run(fn, *args, **kwargs)


def to_process(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Job[T]:
    """Awaiting it gives what ``fn(*args, **kwargs)`` returns, called in a worker process.

    For computation in Python: a process has a GIL of its own. Function, arguments and result are
    pickled. As many processes as there are cores, started when they are needed.

    Raises the function's own exception; NotPicklable, WorkerDied, PoolFull; PlaceUnavailable
    where processes cannot be started.

    Cancellation: a call that waits is dropped; one that runs is waited for. A view with
    ``on_cancel="kill"`` ends its process.
    """
    return default_pool(_rules.resolve("process", None).place).run(fn, *args, **kwargs)


def to_interpreter(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Job[T]:
    """Awaiting it gives what ``fn(*args, **kwargs)`` returns, called in another interpreter.

    For computation in Python, on Python 3.14 and newer: an interpreter has a GIL of its own, and
    is started faster than a process. Not every extension module can be imported there.

    Raises as `to_process`; PlaceUnavailable on older Pythons, which have no such place.
    """
    return default_pool(_rules.resolve("interpreter", None).place).run(fn, *args, **kwargs)


def submit(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
    """Have ``fn(*args, **kwargs)`` called in a worker thread; its Future has the outcome.

    For code without an event loop; see `Pool.submit`.

    >>> submit(sum, [1, 2, 3]).result()
    6
    """
    if isinstance(fn, Offloaded):
        return fn._pool().submit(fn.fn, *args, **kwargs)
    return pool_of_threads().submit(fn, *args, **kwargs)


def map(  # noqa: A001 - the same as the builtin, offloaded
    fn: Callable[[S], T],
    items: Iterable[S] | AsyncIterable[S],
    *,
    limit: int | None = None,
    ordered: bool = False,
    pool: Calls | None = None,
) -> AsyncGenerator[T]:
    """Yield ``fn(item)`` for each of `items`, as the calls end.

    See `Pool.amap`. A function made by `offloaded` runs where it was declared to, unless `pool`
    says otherwise.

    >>> [n async for n in map(abs, [-1, -2, -3], limit=2, ordered=True)]
    [1, 2, 3]
    """
    if isinstance(fn, Offloaded):
        return (pool or fn._pool()).amap(fn.fn, items, limit=limit, ordered=ordered)
    return (pool or pool_of_threads()).amap(fn, items, limit=limit, ordered=ordered)


def iterate(
    source: Iterable[T], *, batch: int = 100, pool: Calls | None = None
) -> AsyncGenerator[T]:
    """Yield the items of `source`, which is iterated in one worker thread.

    See `Pool.iterate`.

    >>> [n async for n in iterate(range(3))]
    [0, 1, 2]
    """
    return (pool or pool_of_threads()).iterate(source, batch=batch)


def pool_of_threads() -> Pool:
    """Give the pool that `run` uses for what was not declared."""
    return default_pool(_rules.resolve("thread", None).place)


_offloop.set_default(pool_of_threads())
_lifecycle.make_ready()
