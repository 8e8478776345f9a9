"""Any ``concurrent.futures.Executor`` as the place of a pool's calls.

The executor is the user's: offloop submits to it, follows the futures, and shuts it down only if
it was told to. Code here runs in the thread that starts a call, and in the executor's threads when
its futures are done.
"""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from typing import Any

from offloop.exceptions import Closed, WorkerDied
from offloop.pools._base import Call, Place, Plan, Reason


class ClusterPlace(Place):
    """An executor of the user's.

    Options: `executor`, and `shutdown` (False): whether closing the pool shuts it down. A call
    that the executor has not begun is taken back when its awaiter is cancelled or its time is up;
    one that runs there cannot be stopped, as with every executor.
    """

    kind = "cluster"

    def __init__(self, plan: Plan) -> None:
        options = dict(plan.options)
        executor = options.pop("executor", None)
        self._owned = bool(options.pop("shutdown", False))
        if options:
            raise TypeError(f"a pool over an executor has no option {next(iter(options))!r}")
        if not isinstance(executor, Executor):
            raise TypeError(f"executor has to be a concurrent.futures.Executor, not {executor!r}")
        if plan.initializer is not None:
            raise TypeError("an executor has its own initializer: give it to that one")
        self._executor = executor
        self._where = f"cluster:{type(executor).__name__}"
        self._lock = threading.Lock()
        self._futures: dict[Call, Future[Any]] = {}
        """What is under way."""
        self._closed = False

    def start(self, call: Call) -> None:  # noqa: D102 - as Place says, like the next four
        with self._lock:
            if self._closed:
                raise Closed("the pool is closed")
        if not call.begin(self._where):
            return
        try:
            future = self._executor.submit(call.fn, *call.args, **call.kwargs)
        except BaseException as error:  # noqa: BLE001 - begun, so its end has to be reported
            call.set_exception(_told(error, self._where))
            return
        with self._lock:
            self._futures[call] = future
        future.add_done_callback(lambda future: self._done(call, future))

    def cancel(self, call: Call, reason: Reason) -> None:  # noqa: D102
        del reason
        with self._lock:
            future = self._futures.get(call)
        if future is not None:
            future.cancel()

    def resize(self, limit: int) -> None:  # noqa: D102
        del limit  # the pool's own limit; the executor has its own

    def close(self) -> None:  # noqa: D102
        with self._lock:
            self._closed = True
        if self._owned:
            self._executor.shutdown(wait=False)

    def kill(self) -> None:  # noqa: D102
        with self._lock:
            futures = list(self._futures.values())
        for future in futures:
            future.cancel()
        if self._owned:
            with contextlib.suppress(Exception):
                self._executor.shutdown(wait=False, cancel_futures=True)

    def _done(self, call: Call, future: Future[Any]) -> None:
        with self._lock:
            self._futures.pop(call, None)
        try:
            value = future.result()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the awaiter gets it
            own = isinstance(error, CancelledError) and not future.cancelled()
            call.set_exception(error if own else _told(error, self._where))
        else:
            call.set_result(value)


def _told(error: BaseException, where: str) -> BaseException:
    """Make the failure of an executor one of offloop's; the function's own stays what it is."""
    if isinstance(error, CancelledError):
        told: BaseException = WorkerDied(f"{where} has given up the call")
    elif isinstance(error, BrokenExecutor):
        told = WorkerDied(f"a worker of {where} is gone: {error}")
    else:
        return error
    told.__cause__ = error
    return told
