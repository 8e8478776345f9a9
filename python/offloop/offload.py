"""Offloading: blocking calls leave the event loop's thread and come back as one awaitable."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, TypeVar

from offloop import _offloop

if TYPE_CHECKING:
    from collections.abc import Callable

    from offloop._offloop import Job

P = ParamSpec("P")
T = TypeVar("T")


def run(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Job[T]:
    """Awaiting it gives what ``fn(*args, **kwargs)`` returns, called in a worker thread.

    For calls that block: files, databases, `requests`, C code that releases the GIL. Pure
    Python computation gains nothing in a thread. The call runs in a copy of the context
    variables that hold when the Job starts.

    Raises the function's own exception, with its traceback; a StopIteration as RuntimeError
    from it. `PoolFull` when 10,000 calls wait already, `ResourceExhausted` when the system has
    no thread left, `Closed` at interpreter exit, `ForkedProcessError` in a forked child.

    Cancellation: a call that waits for its turn is dropped. A call that runs cannot be stopped:
    the await ends when the function has, and then with CancelledError.

    Thread safety: may be called from any thread that runs an event loop.

    >>> await run(sum, [1, 2, 3])
    6
    """
    job: Job[T] = _offloop.run(fn, *args, **kwargs)
    return job
