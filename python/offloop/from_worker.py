"""Back into the loop: what an offloaded function may ask of the loop that submitted it."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from offloop import _offloop
from offloop.exceptions import Closed, OffloadError
from offloop.pools import _current

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

LOOK = 0.05
"""Seconds between looks at whether the loop is still there and the Job still wanted."""


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in the loop whose Job this thread is running, and give its result.

    Blocks this thread until the coroutine is over; it runs in a copy of the Job's context
    variables.

    Raises what the coroutine raises; OffloadError outside of an offloaded function, or where the
    call was submitted without a loop; Closed when the loop ends before the coroutine has.

    Cancellation: when the Job is cancelled or its time is up, the coroutine is cancelled, and
    CancelledError is raised here.
    """
    given: object = coroutine
    if not inspect.iscoroutine(given):
        raise TypeError(f"a coroutine is needed, not {type(given).__name__}")
    worker = _current.local.worker
    loop = worker.event_loop() if worker is not None else None
    if worker is None or loop is None:
        coroutine.close()
        raise OffloadError("from_worker.run() needs a Job of a running loop around it")
    context = contextvars.copy_context()
    context.run(_current.behalf.set, worker)
    outcome: Future[T] = Future()
    tasks: list[asyncio.Task[T]] = []

    def start() -> None:
        try:
            task = loop.create_task(coroutine)
        except BaseException as error:  # noqa: BLE001 - the loop's task factory may be the user's
            outcome.set_exception(error)
            return
        tasks.append(task)
        task.add_done_callback(lambda task: _hand_over(task, outcome))

    _offloop.waits_in_loop(1)
    try:
        try:
            loop.call_soon_threadsafe(start, context=context)
        except RuntimeError as error:
            coroutine.close()
            raise Closed("the loop of this Job has closed") from error
        return _wait(worker, loop, coroutine, tasks, outcome)
    finally:
        _offloop.waits_in_loop(-1)


def _wait(
    worker: _current.CurrentWorker,
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, T],
    tasks: list[asyncio.Task[T]],
    outcome: Future[T],
) -> T:
    told = False
    while True:
        try:
            return outcome.result(LOOK)
        except TimeoutError:
            if outcome.done():
                return outcome.result()
        try:
            if tasks and not told and worker.cancelled():
                told = True
                loop.call_soon_threadsafe(tasks[0].cancel)
        except RuntimeError:  # it has closed meanwhile
            pass
        if loop.is_closed():
            if not tasks:
                coroutine.close()
            raise Closed("the loop of this Job has closed")


def _hand_over(task: asyncio.Task[T], outcome: Future[T]) -> None:
    if task.cancelled():
        outcome.set_exception(asyncio.CancelledError("the coroutine was cancelled"))
    elif (error := task.exception()) is not None:
        outcome.set_exception(error)
    else:
        outcome.set_result(task.result())
