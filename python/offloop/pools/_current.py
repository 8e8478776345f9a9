"""What a function that was offloaded can ask: who it is, and whether it is still wanted.

Kept free of the extension, so that processes and interpreters can use it: each worker sets
`local.worker` once, to an object with the methods of `CurrentWorker`.
"""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import os
import sys
import threading
import time
from typing import Any, Protocol


class CurrentWorker(Protocol):
    """What a worker tells the function it runs."""

    @property
    def name(self) -> str:
        """``"io-3"``."""
        ...

    @property
    def pool(self) -> str:
        """The name of its pool."""
        ...

    def cancelled(self) -> bool:
        """Tell whether nobody waits for the call any longer."""
        ...

    def event_loop(self) -> asyncio.AbstractEventLoop | None:
        """Give the loop of the Job, if there is one in this process."""

    def describe(self) -> tuple[str, float] | None:
        """Name the function that is run, and tell for how many seconds."""


class _Local(threading.local):
    worker: CurrentWorker | None = None


local = _Local()


class _ProcessWorker:
    """The worker process that this is, as far as the function it runs may ask."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self.pool: str = module.pool
        self.name = self.where = f"process:{os.getpid()}"

    def cancelled(self) -> bool:
        return bool(self._module.is_cancelled())

    def event_loop(self) -> asyncio.AbstractEventLoop | None:
        return None

    def describe(self) -> tuple[str, float] | None:
        if self._module.running is None:
            return None
        function, since = self._module.running
        name = getattr(function, "__qualname__", None) or type(function).__qualname__
        return name, time.monotonic() - since


def _present() -> CurrentWorker | None:
    """Give the worker whose call runs in this thread."""
    worker = local.worker
    if worker is not None:
        return worker
    # The module of worker processes has this name in them alone; calls run in their main thread.
    module = sys.modules.get("_offloop_worker")
    if module is None or threading.current_thread() is not threading.main_thread():
        return None
    return _ProcessWorker(module)


behalf: contextvars.ContextVar[CurrentWorker | None] = contextvars.ContextVar(
    "offloop-behalf", default=None
)
"""The worker that waits for the coroutine which runs in this context (`offloop.from_worker`)."""


@dataclasses.dataclass(frozen=True)
class CurrentJob:
    """The Job that runs in this thread."""

    name: str
    """The function, as in the repr of its Job."""
    pool: str
    """The name of its pool."""
    where: str
    """As `Job.where`: ``"thread:io-3"``."""
    seconds: float
    """For how long it had run when this was asked."""
    cancelled: bool
    """Whether somebody had asked for its end: a cancel, a timeout."""


def current_job() -> CurrentJob | None:
    """Give what this thread is running for a Job; None outside of offloaded functions.

    Thread safety: tells of the calling thread.

    >>> current_job() is None
    True
    """
    worker = _present()
    described = worker.describe() if worker is not None else None
    if worker is None or described is None:
        return None
    name, seconds = described
    place = getattr(worker, "where", f"thread:{worker.name}")
    return CurrentJob(name, worker.pool, place, seconds, worker.cancelled())


def check_cancelled() -> None:
    """Raise `asyncio.CancelledError` if nobody waits for this offloaded function any longer.

    For long loops in functions that are offloaded: a thread cannot be stopped from outside, so
    the function has to ask. Asks for a cancel, a timeout and a loop that has closed. In a worker
    process, too, where it asks for a cancel. Does nothing outside of offloaded functions.

    Thread safety: tells of the calling thread.

    >>> check_cancelled()
    """
    worker = _present()
    if worker is not None and worker.cancelled():
        raise asyncio.CancelledError("the Job of this call was cancelled")
