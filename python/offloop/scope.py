"""`Scope`: Jobs that end before the block that started them does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar

if TYPE_CHECKING:
    import types
    from collections.abc import Callable

    from offloop.pools._calls import Calls

P = ParamSpec("P")
T = TypeVar("T")


class Scope:
    """A block that no call outlives: like ``asyncio.TaskGroup``, for offloaded calls.

    Leaving the block waits for all calls that were started in it. If one fails, or the block
    itself does, the others are cancelled, and the failures are raised together in an
    ExceptionGroup once all have ended. `pool` is a `Pool` or a view; by default calls run as with
    `offloop.run`.

    Cancellation: cancels all calls. A running function that cannot be stopped is waited for,
    unless the pool's view says ``on_cancel="abandon"`` or ``"kill"``.

    Thread safety: belongs to one task.

    >>> async with Scope() as scope:
    ...     first, second = scope.run(pow, 2, 3), scope.run(len, "ab")
    >>> first.result() + second.result()
    10
    """

    def __init__(self, pool: Calls | None = None) -> None:
        self._pool = pool
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        await self._group.__aexit__(exc_type, exc_value, traceback)

    def run(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> asyncio.Task[T]:
        """Start ``fn(*args, **kwargs)`` now, in a worker; the Task has its outcome.

        Raises RuntimeError outside of the block.
        """
        from offloop import offload

        run = offload.run if self._pool is None else self._pool.run
        job = run(fn, *args, **kwargs)
        try:
            return self._group.create_task(job)
        except BaseException:
            job.close()
            raise
