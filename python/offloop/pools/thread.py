"""Worker threads: real ``threading.Thread``s that take calls from the queue in Rust."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from offloop import _lifecycle

if TYPE_CHECKING:
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
    while (order := worker.next()) is not None:
        context, call, keywords = order
        try:
            value = context.run(*call) if keywords is None else context.run(*call, **keywords)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the awaiter gets it
            # This frame is left out of the traceback, unless it is alone: a call of a C function.
            traceback = error.__traceback__
            worker.raised(error, traceback.tb_next if traceback is not None else None)
            del traceback
        else:
            worker.done(value)
            del value
        # The outcome leaves with the next `next`: by then this thread holds none of its objects,
        # so the last reference is the loop's.
        del order, context, call, keywords
