"""`map` as executors have it: synchronous, in order, as far ahead as the pool's queue allows."""

from __future__ import annotations

import collections
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from offloop.exceptions import PoolFull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from offloop.pools._calls import Calls

T = TypeVar("T")

FULL = 0.01
"""Seconds after which a full queue is tried again when none of the own calls can be waited for."""


class Run(Generic[T]):
    """The calls of one `map` that are under way. Used by the thread that takes the results."""

    def __init__(
        self, pool: Calls, fn: Callable[..., T], arguments: Iterator[tuple[Any, ...]], ahead: int
    ) -> None:
        self._pool = pool
        self._fn = fn
        self._arguments = arguments
        self._ahead = ahead
        self._refused: tuple[Any, ...] | None = None
        """Arguments that were taken and for which the queue had no room."""
        self._is_over = False
        self._futures: collections.deque[Future[T]] = collections.deque()

    def fill(self) -> None:
        """Submit calls, as many as may be under way, or until the queue is full."""
        while len(self._futures) < self._ahead and (given := self._next()) is not None:
            try:
                self._futures.append(self._pool.submit(self._fn, *given))
            except PoolFull:
                self._refused = given
                return

    def _next(self) -> tuple[Any, ...] | None:
        given, self._refused = self._refused, None
        if given is None and not self._is_over:
            given = next(self._arguments, None)
            self._is_over = given is None
        return given

    def results(self, end: float | None) -> Iterator[T]:
        """Yield the results; TimeoutError from `end` on (`time.monotonic`)."""
        try:
            while self._futures or self._refused is not None:
                if not self._futures:
                    self._wait_for_others(end)
                    continue
                first = self._futures.popleft()
                try:
                    value = [first.result(None if end is None else end - time.monotonic())]
                finally:
                    first.cancel()
                    del first
                self.fill()
                yield value.pop()  # nothing here keeps it while the caller looks at it
        finally:
            for future in self._futures:
                future.cancel()

    def _wait_for_others(self, end: float | None) -> None:
        """Try again: calls of others fill the queue, and none of our own is under way."""
        if end is not None and time.monotonic() >= end:
            raise TimeoutError
        time.sleep(FULL)
        self.fill()
