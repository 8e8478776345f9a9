"""A worker that waits for Futures of pools is told if they could never end.

`Future.result` and `exception` wait for one. ``concurrent.futures.wait`` and ``as_completed`` wait
for many: they leave a waiter with each Future, and then wait for its event, which is where this
looks. Whose Futures these are only their frame knows, for some may be of other executors.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING, Any

from offloop.exceptions import WouldDeadlock
from offloop.pools import _current

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

    from offloop._offloop import Submission


def for_one(future: Future[Any]) -> AbstractContextManager[None]:
    """Surround a wait for one Future."""
    if _current.local.worker is None or future.done():
        return contextlib.nullcontext()
    return _noted([_submission(future)], True)


def _submission(future: Future[Any]) -> Submission | None:
    return getattr(future, "_submission", None)


@contextlib.contextmanager
def _noted(submissions: Iterable[Submission | None], needs_all: bool) -> Iterator[None]:
    """Note that this worker waits for calls.

    Raises WouldDeadlock if one that is needed cannot end, or, where any will do, if none can.
    """
    noted: list[Submission] = []
    refusal: WouldDeadlock | None = None
    can_end = False
    try:
        for submission in submissions:
            if submission is None:
                can_end = True  # somebody else's
                continue
            try:
                submission.begin_wait()
            except WouldDeadlock as error:
                refusal = error
                if needs_all:
                    raise
            else:
                can_end = True
                noted.append(submission)
        if refusal is not None and not can_end:
            raise refusal
        yield
    finally:
        for submission in noted:
            submission.end_wait()


class Waiters(list[Any]):
    """The waiters of one Future; those of a worker get an event that looks before it waits."""

    def append(self, waiter: Any) -> None:
        """Take the waiter of one who waits for several Futures."""
        if _current.local.worker is not None and not isinstance(waiter.event, _Event):
            waiter.event = _Event(hasattr(waiter, "num_pending_calls"))
        super().append(waiter)


class _Event(threading.Event):
    """What `wait` and `as_completed` wait for in a worker."""

    def __init__(self, needs_all: bool) -> None:
        super().__init__()
        self._needs_all = needs_all

    def wait(self, timeout: float | None = None) -> bool:
        """Wait as an event does; WouldDeadlock if it could never come."""
        futures = sys._getframe(1).f_locals
        waited: Iterable[Any] = futures.get("pending") or futures.get("fs") or ()
        undone = [_submission(future) for future in waited if not future.done()]
        if self.is_set() or not undone:
            return super().wait(timeout)
        with _noted(undone, self._needs_all):
            return super().wait(timeout)
