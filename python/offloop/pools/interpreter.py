"""Interpreters within this process: CPU work on every core without other processes (Python 3.14+).

The standard library's `concurrent.interpreters` has the interpreters and what crosses between them;
their threads are ours (`offloop.pools._interpreter_driver`). What runs there is
`offloop.pools._worker`, loaded by its path, since offloop's extension refuses interpreters other
than the first. The function goes as the standard library shares it: by its code if it needs
nothing else, otherwise by the name of its module, which is imported there. Where that fails the
function has not run, so another place may run it: `CpuPlace` takes a process, and says so once.

The lock of a place is held for moments, never while code of users runs, and never while something
is handed over or waited for.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import logging
import os
import sys
import threading
import time
import warnings
import weakref
from typing import TYPE_CHECKING, Any

from offloop.exceptions import (
    Closed,
    ForkedProcessError,
    InternalError,
    NotPicklable,
    OffloadError,
    PlaceUnavailable,
)
from offloop.pools import _worker
from offloop.pools._base import Call, Place, Plan, Reason
from offloop.pools._interpreter_driver import Worker
from offloop.pools._packing import outcome, pack_arguments, pack_initializer, report

if TYPE_CHECKING:
    import types
    from collections.abc import Callable

EXIT_GRACE = 1.0
"""Seconds that a call gets which is stuck in an interpreter when the process ends."""
STUCK = 70
"""Exit code of a process that could only be ended with a call stuck (EX_SOFTWARE)."""

_BOOT = """
import sys, importlib.machinery as m
w = sys.modules[{name!r}] = type(sys)({name!r})
exec(m.SourceFileLoader({name!r}, {path!r}).get_code({name!r}), w.__dict__)
sys.path[:] = {sys_path!r}
"""

_places: weakref.WeakSet[InterpreterPlace] = weakref.WeakSet()
_refused: dict[tuple[str, str], str] = {}
"""Why a function cannot run in an interpreter, by its module and name."""
_told: set[tuple[str, str]] = set()
"""Those of them of which a warning has spoken."""


class InterpreterPlace(Place):
    """Interpreters of Python 3.14 and newer, one for each of the pool's calls that run at once.

    A call that runs cannot be stopped. One stuck when the process ends is named, and then the
    process is left at once with exit code 70, without the rest of Python's clean-up.
    """

    kind = "interpreter"

    def __init__(self, plan: Plan) -> None:
        if importlib.util.find_spec("concurrent.interpreters") is None:
            raise PlaceUnavailable(
                "interpreters need Python 3.14 or newer; a process does the same work: "
                'to_process(...), Pool(on="process")'
            )
        for option in plan.options:
            raise TypeError(f"a pool of interpreters has no option {option!r}")
        self._initializer = pack_initializer(plan)
        self._plan = plan
        self._where = f"interpreter:{plan.pool}"
        self._limit = plan.limit
        self._lock = threading.Lock()
        self._workers: set[Worker] = set()
        self._idle: list[Worker] = []
        """Workers without a call, the one that was busy last at the end; part of `_workers`."""
        self._running: dict[Call, float] = {}
        """Calls under way, and when they began."""
        self._moved: dict[Call, Call] = {}
        """Those of them that processes have, and what the processes know them as."""
        self._closed = False
        self._forked = False
        _places.add(self)

    def start(self, call: Call) -> None:  # noqa: D102 - as Place says, like the next four
        why = self.refusal(call.fn) if _refused else None
        if why is not None:
            raise PlaceUnavailable(why)
        payload: bytes | None = None
        sent = tuple(call.args)
        if call.kwargs or not all(map(_worker.shared, sent)):
            payload, buffers = pack_arguments(call)
            sent = tuple([it.obj if type(it.obj) is bytes else bytes(it) for it in buffers])
        if not call.begin(self._where):
            return
        with self._lock:
            if self._closed:
                raise Closed("the pool is closed")
            self._running[call] = time.monotonic()
            worker = self._idle.pop() if self._idle else None
        fresh = worker is None
        try:
            if worker is None:
                worker = self._new_worker()
            worker.take(call, payload, sent)
        except BaseException as error:
            self._take_back(worker, fresh, usable=_is_refusal(error))
            if not isinstance(error, Exception):  # Ctrl-C, anywhere
                self._drop(call)
                raise
            self._not_handed(call, error)  # begun, so its end has to be reported
            return
        if fresh:
            self._hire(worker, call)

    def cancel(self, call: Call, reason: Reason) -> None:  # noqa: D102
        del call, reason  # there is no way to stop it

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
        self.close()

    def abandon(self) -> None:
        """In a forked child: leave the workers to the parent, who has their threads."""
        self._forked = True
        self._lock = threading.Lock()
        self._workers.clear()
        self._idle.clear()
        self._running.clear()

    def refusal(self, fn: Callable[..., Any]) -> str | None:  # noqa: D102
        return _refused.get(_key(fn))

    def _new_worker(self) -> Worker:
        if self._forked:
            raise ForkedProcessError(
                "this pool's interpreters belong to the parent of this process"
            )
        _install_exit_hook()
        worker = Worker(self, self._plan.pool)
        with self._lock:
            self._workers.add(worker)
        return worker

    def _hire(self, worker: Worker, call: Call) -> None:
        """Start a worker that has its first call."""
        boot = _BOOT.format(
            name=_worker.NAME,
            path=_worker.__file__,
            sys_path=[str(entry) for entry in sys.path],
        )
        if self._initializer is not None:
            boot += f"function, arguments = w.pickle.loads({self._initializer!r})\n"
            boot += "function(*arguments)\n"
        try:
            worker.hire(boot)
        except RuntimeError as error:
            self._take_back(worker, fresh=True, usable=False)
            self._not_handed(call, error)

    def _take_back(self, worker: Worker | None, fresh: bool, usable: bool) -> None:
        """See to a worker that could not be given a call; half a call makes it unusable."""
        if worker is None:
            return
        if usable and not fresh:
            self._release(worker)
            return
        with self._lock:
            worker.call = None
            self._forget(worker)
        if fresh:
            worker.discard()
        else:
            worker.dismiss()

    def _not_handed(self, call: Call, error: Exception) -> None:
        if _is_refusal(error):
            self._refuse(call, error.__cause__ or error)
            return
        failure: Exception = error
        if not isinstance(error, ForkedProcessError):
            failure = PlaceUnavailable(f"no interpreter can be had: {error}")
            failure.__cause__ = error
        self._ended(call, (False, failure))

    def _came_home(self, worker: Worker, reply: Callable[[], Any]) -> None:
        """Report an outcome, in the worker's thread for that."""
        call = worker.call
        if call is None:
            raise InternalError("an interpreter answered without having been asked")
        kind, payload, buffers = reply()  # without memory for it, this worker has come to its end
        if kind == _worker.REFUSED:
            worker.forget(call.fn)
        self._release(worker)  # first: the end of one call is mostly the start of the next
        if kind == _worker.SHARED:
            self._ended(call, (True, payload))
            return
        result = outcome(call, kind, payload, buffers, self._where)
        what = result[1]
        if isinstance(what, NotPicklable) and what.what == "the call":  # cannot be rebuilt there
            self._refuse(call, what)
        else:
            self._ended(call, result)

    def _lost(self, worker: Worker) -> None:
        """Report the call of a worker that has come to its end, if it has one."""
        with self._lock:
            self._forget(worker)
        if worker.call is not None:
            self._failed(worker.call, worker.failure)

    def _failed(self, call: Call, error: BaseException | None) -> None:
        failure = OffloadError(f"the interpreter, or its initializer, failed: {error!r:.500}")
        failure.__cause__ = error
        self._ended(call, (False, failure))

    def _release(self, worker: Worker) -> None:
        """Note that a worker has no call any more."""
        with self._lock:
            worker.call = None
            stays = not self._closed and len(self._workers) <= self._limit
            if stays:
                self._idle.append(worker)
            else:
                self._forget(worker)
        if not stays:
            worker.dismiss()

    def _forget(self, worker: Worker) -> None:
        """Under the lock. The worker's threads end by themselves."""
        self._workers.discard(worker)
        with contextlib.suppress(ValueError):
            self._idle.remove(worker)

    def _refuse(self, call: Call, reason: BaseException) -> None:
        """Remember that a function does not get there. It has not run."""
        last = str(reason).strip().rpartition("\n")[2]
        why = f"{_worker.full_name(call.fn)} cannot run in an interpreter: {last:.500}"
        _refused[_key(call.fn)] = why
        failure = PlaceUnavailable(f"{why}; a process can: to_process(...)")
        failure.__cause__ = reason
        self._fall_back(call, failure)

    def _fall_back(self, call: Call, failure: PlaceUnavailable) -> None:
        self._ended(call, (False, failure))

    def _emptied(self) -> None:
        """Note that a closed place has no call any more."""

    def leave(self) -> None:
        """Close, and end the process although calls run: Python would wait for ever for them."""
        self.kill()
        threading.Thread(target=self._leave, name="offloop-exit", daemon=True).start()

    def _leave(self) -> None:
        time.sleep(EXIT_GRACE)
        with self._lock:
            stuck = list(self._running.items())
        if not stuck:
            return
        for call, since in stuck:
            logging.getLogger("offloop").warning(
                "left %s running at exit: %s, for %.1f s",
                _worker.full_name(call.fn),
                self._where,
                time.monotonic() - since,
            )
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(STUCK)

    def _ended(self, call: Call, result: tuple[bool, Any]) -> None:
        self._drop(call)
        report(call, result)

    def _drop(self, call: Call) -> None:
        with self._lock:
            self._running.pop(call, None)
            self._moved.pop(call, None)
            last = self._closed and not self._running
        if last:
            self._emptied()


def _is_refusal(error: BaseException) -> bool:
    """Tell whether a function cannot be shared; nothing of its call has been handed over then."""
    from concurrent.interpreters import NotShareableError  # type: ignore[import-not-found]

    return isinstance(error, NotShareableError)


@functools.cache
def _install_exit_hook() -> None:
    """Be asked before Python waits for threads, which it does without an end."""

    def close_all() -> None:
        for place in list(_places):
            place.leave()

    with contextlib.suppress(AttributeError, RuntimeError):
        threading._register_atexit(close_all)  # type: ignore[attr-defined]


class CpuPlace(InterpreterPlace):
    """Interpreters, and processes for what cannot run there. Told once for each function."""

    kind = "cpu"

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        from offloop.pools.process import ProcessPlace

        self._processes = ProcessPlace(plan)

    def start(self, call: Call) -> None:  # noqa: D102
        why = self.refusal(call.fn)
        if why is None:
            super().start(call)
        else:
            _say(call.fn, why)
            self._processes.start(call)

    def cancel(self, call: Call, reason: Reason) -> None:  # noqa: D102
        with self._lock:
            moved = self._moved.get(call, call)
        self._processes.cancel(moved, reason)

    def resize(self, limit: int) -> None:  # noqa: D102
        super().resize(limit)
        self._processes.resize(limit)

    def close(self) -> None:  # noqa: D102
        super().close()
        with self._lock:
            busy = bool(self._running)
        if not busy:  # else the last call may still fall back
            self._emptied()

    def kill(self) -> None:  # noqa: D102
        super().kill()
        self._processes.kill()

    def _emptied(self) -> None:
        self._processes.close()

    def _fall_back(self, call: Call, failure: PlaceUnavailable) -> None:
        _say(call.fn, self.refusal(call.fn) or str(failure))
        moved = _Moved(call, self._ended)
        with self._lock:
            self._moved[call] = moved
        try:
            self._processes.start(moved)
        except Exception as error:  # noqa: BLE001 - begun, so its end has to be reported
            self._ended(call, (False, error))


class _Moved(Call):
    """A call that has begun already, for a second place."""

    __slots__ = ("_call", "_ended")

    def __init__(self, call: Call, ended: Callable[[Call, tuple[bool, Any]], None]) -> None:
        super().__init__(call.fn, call.args, call.kwargs, call.on_cancel)
        self._call = call
        self._ended = ended

    def begin(self, where: str) -> bool:
        del where
        return True

    def set_result(self, value: object) -> bool:
        self._ended(self._call, (True, value))
        return True

    def set_exception(
        self, error: BaseException, traceback: types.TracebackType | None = None
    ) -> bool:
        del traceback
        self._ended(self._call, (False, error))
        return True

    def cancelled(self) -> bool:
        return self._call.cancelled()


def _key(fn: Callable[..., Any]) -> tuple[str, str]:
    name = getattr(fn, "__qualname__", None) or type(fn).__qualname__
    return getattr(fn, "__module__", None) or "", name


def _say(fn: Callable[..., Any], why: str) -> None:
    """Tell once for each function that it runs elsewhere."""
    if _key(fn) not in _told:
        _told.add(_key(fn))
        warnings.warn(f"{why}. It runs in a worker process instead", RuntimeWarning, stacklevel=3)


def _after_fork_in_child() -> None:
    for place in list(_places):
        place.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
