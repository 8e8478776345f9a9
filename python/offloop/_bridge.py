"""The Python half of the bridge: runs the callbacks of Jobs that have come home.

`drain` is called by the event loop when a Job's doorbell rings. It lives here and not in Rust so
that only Python frames lie below user code: CPython up to 3.13 ends daemon threads by unwinding
their stacks, and a Rust frame in the way would abort the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

from offloop import _lifecycle

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from offloop._offloop import Job, Promise, Ready, Ringer

T = TypeVar("T")


def drain(ready: Ready) -> None:
    """Run the callbacks that are due, each in its own context; a raising one harms no other."""
    for context, callback, job in ready:
        try:
            context.run(callback, job)
        except (SystemExit, KeyboardInterrupt):
            ready.ring()
            raise
        except BaseException as error:  # noqa: BLE001 - as asyncio's Handle does
            loop = ready.event_loop()
            if loop is not None:
                message = f"Exception in callback {callback!r}"
                loop.call_exception_handler({"message": message, "exception": error, "job": job})


def start_outside(starter: Callable[[Promise], object], promise: Promise) -> None:
    """Begin the work of a Job that is done outside, unless it was cancelled meanwhile."""
    if promise.cancelled():
        promise.begin("")  # nobody wants it: let go of it
        return
    try:
        starter(promise)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the awaiter gets it
        promise.set_exception(error, error.__traceback__)


def listen(
    loop: asyncio.AbstractEventLoop, descriptor: int | None, ringer: Ringer, ready: Ready
) -> None:
    """Have `loop` call `drain` whenever the doorbell of its bridge rings."""
    with _lifecycle.entering():
        if descriptor is not None:
            try:
                loop.add_reader(descriptor, drain, ready)
            except NotImplementedError:
                pass
            else:
                return
        ringer.take_over()
        ring_loop(ringer, loop, ready)


def ring_loop(ringer: Ringer, loop: asyncio.AbstractEventLoop, ready: Ready) -> None:
    """Wake a loop that cannot watch a descriptor: by a thread, once per burst."""

    def ring(ready: Ready) -> None:
        while True:
            rung = ringer.wait()
            loop = ready.event_loop()
            if loop is None or loop.is_closed():
                return
            if rung:
                with contextlib.suppress(RuntimeError):  # it closes at this very moment
                    loop.call_soon_threadsafe(drain, ready)
            del loop

    name = f"offloop-ring-{id(loop):x}"
    threading.Thread(target=ring, args=(ready,), name=name, daemon=True).start()


class JobFuture(asyncio.Future[T]):
    """What `Job.start` gives: an asyncio future that shows, and cancels, the Job it follows."""

    _job: Job[T] | None = None
    _follower: _Follower | None = None

    def cancel(self, msg: object | None = None) -> bool:
        """Cancel the Job; False when it is over already."""
        if self._job is None:
            return super().cancel(msg)
        if self.done() or not self._job.cancel(msg):
            return False
        if self._job.cancelled():
            super().cancel(msg)
        return True

    def add_done_callback(self, fn: Any, /, *, context: Context | None = None) -> None:
        """Call ``fn(self)`` when the Job is over; from now on the Job keeps this future alive."""
        if self._follower is not None and not self.done():
            self._follower.pin = self
        super().add_done_callback(fn, context=context)

    def __repr__(self) -> str:
        return super().__repr__() if self._job is None else repr(self._job)

    def __del__(self) -> None:
        # The Job is let go, and is cancelled with its last reference.
        if self._job is not None and self._follower is not None and not self.done():
            self._job.remove_done_callback(self._follower)
        super().__del__()


class _Follower:
    """Hands a Job's end to its future. Weak until somebody waits: dropping is cancelling."""

    __slots__ = ("future", "pin")

    def __init__(self, future: JobFuture[Any]) -> None:
        self.future = weakref.ref(future)
        self.pin: JobFuture[Any] | None = None

    def __call__(self, job: Job[Any]) -> None:
        future, self.pin = self.future(), None
        if future is None or future.done():
            return
        if job.cancelled():
            asyncio.Future.cancel(future, job._cancel_message)
            return
        error = job.exception()
        if error is None:
            future.set_result(job.result())
        else:
            future.set_exception(error)


def follow(job: Job[T]) -> JobFuture[T]:
    """Make the future of a started Job."""
    future: JobFuture[T] = JobFuture(loop=job.get_loop())
    future._job = job
    future._follower = _Follower(future)
    if job.done():
        future._follower(job)
    else:
        job.add_done_callback(future._follower)
    return future


def report(loop: asyncio.AbstractEventLoop | None, context: dict[str, Any]) -> None:
    """Tell of an exception nobody retrieved, as asyncio does for its futures."""
    if loop is None:
        error = context["exception"]
        logging.getLogger("asyncio").error(context["message"], exc_info=error)
    else:
        loop.call_exception_handler(context)


def prepare() -> None:
    """Import what the Rust side will ask for by name."""
    for module in (
        "asyncio",
        "contextvars",
        "offloop._response",
        "offloop.exceptions",
        "offloop.offload",
        "offloop.options",
        "offloop.pools._current",
        "offloop.pools._hogs",
        "offloop.pools._offloaded",
        "offloop.pools.thread",
    ):
        importlib.import_module(module)


def warn_of_bundled_roots() -> None:
    """Say, once per process, that https rests on the roots that came with offloop."""
    logging.getLogger("offloop").warning(
        "this machine has no root certificates: https trusts those that came with offloop"
    )


forgotten: list[Callable[[str, str | None, str], object]] = []
"""Who wants to know of Jobs that nobody awaited; for tools that collect them."""


def tell_forgotten(label: str, made_at: str | None, text: str) -> None:
    """Tell of a Job that is dropped and was never awaited; the warning follows in any case."""
    for listener in forgotten or ():  # None when Python takes modules down
        listener(label, made_at, text)


def caller() -> str:
    """``file:line`` of the user's code that is making a Job."""
    frame = sys._getframe(0)
    package = __package__ or "offloop"
    while frame.f_back is not None and frame.f_globals.get("__package__") == package:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
