"""Worker processes: started by spawn, never by fork, each with a channel and a thread of its own.

`ProcessPlace` knows which worker has which call, and who is idle. A call for an idle worker is
written by the thread that starts it, mostly an event loop's, so that no other thread has to wake
up for that; the rest is the business of the worker's own thread, `offloop.pools._driver`.

The lock of a place is held for moments, never while code of users runs, and never while something
is written or waited for.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import logging
import os
import signal
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from offloop.exceptions import (
    Closed,
    ForkedProcessError,
    LifecycleError,
    PlaceUnavailable,
)
from offloop.pools import _worker, _worker_errors
from offloop.pools._base import Call, Place, Plan, Reason
from offloop.pools._driver import Worker, after_fork_in_child, drivers
from offloop.pools._packing import (
    Order,
    exhausted,
    main_module,
    pack_initializer,
    reachable,
    report_failure,
)

if TYPE_CHECKING:
    from collections.abc import Callable

EXIT_GRACE = 1.0
"""Seconds for which the exit of the interpreter waits for workers to end, all together."""

_places: weakref.WeakSet[ProcessPlace] = weakref.WeakSet()


class ProcessPlace(Place):
    """Processes that run the calls of one pool, one call at a time each.

    Options: `max_jobs_per_worker`, after which a worker is replaced; `max_memory_bytes`, the
    address space of a worker, beyond which its call gets MemoryError.
    """

    kind = "process"

    def __init__(self, plan: Plan) -> None:
        _check_system()
        self._plan = plan
        self._limit = plan.limit
        options = dict(plan.options)
        self._idle_seconds = _positive(plan.idle, "idle", float)
        self._max_jobs = _positive(
            options.pop("max_jobs_per_worker", None), "max_jobs_per_worker", int
        )
        self._max_memory = _positive(options.pop("max_memory_bytes", None), "max_memory_bytes", int)
        if options:
            raise TypeError(f"a pool of processes has no option {next(iter(options))!r}")
        self._initializer = pack_initializer(plan)
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._workers: set[Worker] = set()
        self._idle: list[Worker] = []
        """Workers without a call, the one that was busy last at the end; part of `_workers`."""
        self._stranded: collections.deque[Order] = collections.deque()
        """Orders for which the system refused a process while others were at work."""
        self._closed = False
        _places.add(self)

    def start(self, call: Call) -> None:  # noqa: D102 - as Place says, like the next four
        if os.getpid() != self._pid:
            raise ForkedProcessError("this pool's processes belong to the parent of this process")
        _check_not_importing_main()
        self._dispatch(Order(call))

    def cancel(self, call: Call, reason: Reason) -> None:  # noqa: D102
        with self._lock:
            for worker in self._workers:
                if worker.order is not None and worker.order.call is call:
                    if reason == "cancel" and call.on_cancel != "kill":
                        worker.tell_cancelled()
                    else:
                        worker.kill()
                    return

    def resize(self, limit: int) -> None:  # noqa: D102
        with self._lock:
            self._limit = limit
            surplus = self._idle[: max(0, len(self._workers) - limit)]
            for worker in surplus:
                self._forget(worker)
        for worker in surplus:
            worker.dismiss()

    def close(self) -> None:  # noqa: D102
        with self._lock:
            self._closed = True
            idle = list(self._idle)
            for worker in idle:
                self._forget(worker)
        for worker in idle:
            worker.dismiss()

    def kill(self) -> None:  # noqa: D102
        with self._lock:
            self._closed = True
            for worker in self._workers:
                worker.signal(signal.SIGKILL)

    def refusal(self, fn: Callable[..., Any]) -> str | None:  # noqa: D102
        try:
            _worker.pack(reachable(fn))
        except Exception as error:  # noqa: BLE001 - whatever __reduce__ raises
            return f"{_worker.full_name(fn)} cannot be pickled: {_worker_errors.said(error)}"
        return None

    def pids(self) -> list[int]:
        """Give the workers that live now."""
        with self._lock:
            return [worker.pid for worker in self._workers if worker.pid is not None]

    def _dispatch(self, order: Order) -> None:
        """Hand an order to an idle worker, or hire one for it."""
        with self._lock:
            if self._idle:
                worker, fresh = self._idle.pop(), False
                worker.order = order
                worker.handing.acquire()
            else:
                if self._closed and not order.began:
                    raise Closed("the pool is closed")
                worker, fresh = Worker(self, self._plan.pool, order), True
                self._workers.add(worker)
        if not fresh:
            worker.take(order)
            return
        try:
            worker.hire()
        except RuntimeError as error:
            with self._lock:
                self._forget(worker)
            if not self._strand(order):
                report_failure(order, exhausted("cannot start a thread", error), "process")

    def _strand(self, order: Order) -> bool:
        """Keep an order for those at work, if there are any."""
        with self._lock:
            if self._workers:
                self._stranded.append(order)
                return True
            return False

    def _rescue(self) -> None:
        """See to an order without a worker, now that one has come free or has gone."""
        if not self._stranded:
            return
        with self._lock:
            if not self._stranded or not (self._idle or len(self._workers) < self._limit):
                return
            order = self._stranded.popleft()
        self._dispatch(order)

    def _hello(self) -> bytes:
        """Pack what a worker has to know before its first call."""
        from multiprocessing.process import current_process  # in the worker's thread: not quick

        hello = {
            "pool": self._plan.pool,
            # As multiprocessing hands it on. It goes through the socket, so nobody else sees it.
            "authkey": bytes(current_process().authkey),
            "path": [str(entry) for entry in sys.path],
            "argv": [str(argument) for argument in sys.argv],
            "memory": self._max_memory,
            "main": main_module(),
            "initializer": self._initializer,
        }
        return _worker.pack_in_band(hello)

    def _release(self, worker: Worker) -> bool:
        """Note that a worker has no call any more. False when it has to go."""
        with self._lock:
            worker.order = None
            worker.jobs += 1
            if (
                self._closed
                or worker.killed
                or len(self._workers) > self._limit
                or (self._max_jobs is not None and worker.jobs >= self._max_jobs)
            ):
                self._forget(worker)
                return False
            self._idle.append(worker)
            return True

    def _retire(self, worker: Worker) -> bool:
        """Let a worker go that has been idle for long, unless it has just got a call."""
        with self._lock:
            if worker.order is not None:
                return False
            self._forget(worker)
            return True

    def _forget(self, worker: Worker) -> None:
        """Under the lock. The worker's thread still has to reap it."""
        self._workers.discard(worker)
        with contextlib.suppress(ValueError):
            self._idle.remove(worker)


def _check_system() -> None:
    if os.name != "posix" or not sys.executable:
        raise PlaceUnavailable(
            'worker processes need a POSIX system and sys.executable; Pool(on="thread") works '
            "everywhere, and any concurrent.futures.Executor can be a pool"
        )


def _check_not_importing_main() -> None:
    worker = sys.modules.get(_worker.NAME)
    if worker is not None and worker.importing_main:
        raise LifecycleError(
            "a worker process imports the main module, and the main module uses worker processes: "
            'guard what starts the program with `if __name__ == "__main__":`'
        )


def _positive(value: Any, name: str, kind: type) -> Any:
    if value is None:
        return None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 < value < sys.maxsize or (kind is int and value != int(value)):
        raise ValueError(f"{name} has to be a positive {kind.__name__}, not {value!r}")
    return kind(value)


@atexit.register
def _end_all() -> None:
    """Let workers end by themselves, which runs their exit handlers; then make them."""
    for place in list(_places):
        place.close()
    end = time.monotonic() + EXIT_GRACE
    left = drivers()
    for worker in left:
        worker.join(end - time.monotonic())
    for worker in left:
        order = worker.order
        if order is not None and not worker.killed:  # else its pool has named it
            logging.getLogger("offloop").warning(
                "left %s running at exit: %s", _worker.full_name(order.call.fn), worker.where
            )
        worker.signal(signal.SIGKILL)
    for worker in left:
        worker.join(end + EXIT_GRACE / 2 - time.monotonic())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=after_fork_in_child)

# Objects of the main module's classes come back under the name it has in a worker.
sys.modules.setdefault("__mp_main__", sys.modules["__main__"])
