"""A pool in the shape that asyncio demands of a loop's default executor."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from offloop.pool import Pool

P = ParamSpec("P")
T = TypeVar("T")


class DefaultExecutor(ThreadPoolExecutor):
    """Hands everything to a pool. asyncio takes nothing but a ThreadPoolExecutor here."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(max_workers=1)  # it never starts a thread of its own
        self._pool = pool
        self._own: set[Future[Any]] = set()
        self._own_lock = threading.Lock()
        self._is_shut_down = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have the pool call ``fn(*args, **kwargs)``."""
        with self._own_lock:
            if self._is_shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown")
        future = self._pool.submit(fn, *args, **kwargs)
        with self._own_lock:
            self._own.add(future)
        future.add_done_callback(self._forget)
        return future

    def _forget(self, future: Future[Any]) -> None:
        with self._own_lock:
            self._own.discard(future)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more; wait for what came through here. The pool stays open."""
        with self._own_lock:
            self._is_shut_down = True
            own = list(self._own)
        if cancel_futures:
            for future in own:
                future.cancel()
        if wait:
            _wait(own)


_wait = wait
