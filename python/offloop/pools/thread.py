"""Worker threads: real ``threading.Thread``s that take calls from the queue in Rust."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

import offloop._offloop as _offloop  # noqa: PLR0402 - the other form imports `offload`
from offloop import _lifecycle
from offloop.exceptions import JobTimeout
from offloop.pools import _base, _current, _hogs, _worker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future
    from contextvars import Context

    from offloop._offloop import Worker

STACK_BYTES = 16 * 1024 * 1024
"""Deep recursion in json, pickle or re has to end in RecursionError, not in a crash."""


def hire(worker: Worker) -> None:
    """Start a thread that works at `worker` until the pool closes."""
    name = f"offloop-{worker.name}"
    with _lifecycle.entering() as late:
        if late:
            raise RuntimeError("the interpreter is exiting")
        previous = threading.stack_size()
        threading.stack_size(max(previous, STACK_BYTES))
        try:
            # A daemon, because a stuck call must not keep the process from ending: the exit
            # hook waits for its grace and no longer.
            threading.Thread(target=work, args=(worker,), name=name, daemon=True).start()
        finally:
            threading.stack_size(previous)


def work(worker: Worker) -> None:
    """Run calls until the pool closes. No Rust frame is on the stack while user code runs."""
    worker.arrive(threading.get_ident(), threading.get_native_id())
    _current.local.worker = worker
    _give_way()
    if not _prepare(worker):
        return
    while (order := worker.next()) is not None:
        context, call, keywords, future = order
        if future is not None:
            try:
                _run_submitted(worker, context, call, keywords, future)
            except BaseException:  # its Future has been settled by others
                logging.getLogger("offloop").exception("the outcome of %s is lost", call[0])
            del order, context, call, keywords, future
            continue
        try:
            value = context.run(*call) if keywords is None else context.run(*call, **keywords)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the awaiter gets it
            # This frame is left out of the traceback.
            note(error, worker.name)
            if worker.raised(error, _base.below(error)):
                _hogs.ended(worker, call)
        else:
            if worker.done(value):
                _hogs.ended(worker, call)
            del value
        # The outcome leaves with the next `next`: by then this thread holds none of its objects,
        # so the last reference is the loop's.
        del order, context, call, keywords, future
    settle_failed()


def _give_way() -> None:
    """Have Linux wake this thread without stopping the one that runs, by `SCHED_BATCH`.

    Whoever hands a call over has the GIL. A worker that takes his core from him finds that out,
    goes to sleep again, and is woken once more: seven changes of thread for one call instead of
    two, see decision 48. Only while the policy is the usual one; ``OFFLOOP_SCHED_POLICY=keep``
    leaves it alone.
    """
    if sys.platform != "linux" or os.environ.get("OFFLOOP_SCHED_POLICY") == "keep":
        return
    with contextlib.suppress(OSError):  # a sandbox may forbid it
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _give_way_no_more() -> None:
    """Give the child of a worker the usual policy back: it has no loop to give way to."""
    if getattr(_current.local, "worker", None) is not None and sys.platform == "linux":
        with contextlib.suppress(OSError):
            if os.sched_getscheduler(0) == os.SCHED_BATCH:
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_give_way_no_more)


def _prepare(worker: Worker) -> bool:
    """Run the initializer; without success the worker leaves."""
    if worker.setup is None:
        return True
    initializer, arguments = worker.setup
    try:
        initializer(*arguments)
    except BaseException as error:
        text = "offloop: the initializer of pool %r failed in thread %s"
        logging.getLogger("offloop").exception(text, worker.pool, worker.name)
        worker.refuse(error)
        settle_failed()
        return False
    return True


def _run_submitted(
    worker: Worker,
    context: Context,
    call: tuple[Any, ...],
    keywords: Mapping[str, Any] | None,
    future: Future[Any],
) -> None:
    """Run a call whose outcome goes to a Future, and so to callbacks in this thread."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        value = context.run(*call, **(keywords or {}))
    except BaseException as error:  # noqa: BLE001 - as above
        BaseException.with_traceback(error, _base.below(error))
        note(error, worker.name)
        if worker.raised(error, None):
            _hogs.ended(worker, call)
        future.set_exception(error)
    else:
        if worker.done(None):
            _hogs.ended(worker, call)
        future.set_result(value)


NOTE = "offloop ran this in thread offloop-"


def note(error: BaseException, worker: str) -> None:
    """Say in a traceback where the function ran, once; not if its class will have no notes."""
    with contextlib.suppress(BaseException):  # what it does there is code of users
        notes = getattr(error, "__notes__", ())
        if not any(isinstance(text, str) and text.startswith(NOTE) for text in notes):
            error.add_note(NOTE + worker)


def settle_failed() -> None:
    """Fail the Futures of calls that Rust could not bring to a worker."""
    for future, error in _offloop.take_failed():
        if future.set_running_or_notify_cancel():
            future.set_exception(error)


def timed_out(  # noqa: PLR0913, PLR0917 - called by Rust
    option: str,
    limit: float,
    queued: float,
    ran: float,
    ident: int | None,
    call: tuple[Any, ...] | None,
) -> JobTimeout:
    """Make the exception for a call whose time was up; `ident` is the thread that runs it.

    A function of C has no frame: its name stands for it.
    """
    stack: list[str] = []
    frame = sys._current_frames().get(ident) if ident is not None else None
    if frame is not None:
        frames = traceback.extract_stack(frame)
        own = [n for n, summary in enumerate(frames) if summary.filename == __file__]
        stack = traceback.format_list(frames[own[-1] + 1 :] if own else frames)
        if not stack and call:
            stack = [f"  in {_worker.full_name(call[0])}, which is not written in Python\n"]
    stood = f"; it stood {_place(stack[-1])}" if stack else ""
    return JobTimeout(
        f"not over after {option}={limit:g} s: queued {queued:.3f} s, ran {ran:.3f} s{stood}",
        queued=queued,
        ran=ran,
        stack=stack,
    )


def _place(line: str) -> str:
    """Say where a line of a stack is."""
    text = line.strip()
    return text if text.startswith("in ") else f"at {text}"
