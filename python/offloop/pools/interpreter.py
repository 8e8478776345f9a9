"""Interpreters within this process: CPU work on every core without other processes (Python 3.14+).

The standard InterpreterPoolExecutor has the interpreters and their threads. What runs there is
`offloop.pools._worker`, loaded by its path, since offloop's extension refuses interpreters other
than the first. The function goes as the standard library shares it: by its code if it needs
nothing else, otherwise by the name of its module, which is imported there. Where that fails the
function has not run, so another place may run it: `CpuPlace` takes a process, and says so once.
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

from offloop.exceptions import Closed, NotPicklable, OffloadError, PlaceUnavailable
from offloop.pools import _worker
from offloop.pools._base import Call, Place, Plan, Reason
from offloop.pools._packing import outcome, pack_arguments, pack_initializer, report

if TYPE_CHECKING:
    import types
    from collections.abc import Callable
    from concurrent.futures import Executor, Future

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


def _run_there(function: Any, payload: Any, buffers: Any) -> Any:
    """Run a call there. This needs nothing of its module, so its code is all that is sent."""
    import _offloop_worker  # type: ignore[import-not-found]

    return _offloop_worker.answer(function, payload, buffers)


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
        self._lock = threading.Lock()
        self._executor: Executor | None = None
        self._where = f"interpreter:{plan.pool}"
        self._running: dict[Call, float] = {}
        """Calls under way, and when they began."""
        self._moved: dict[Call, Call] = {}
        """Those of them that processes have, and what the processes know them as."""
        self._closed = False
        _places.add(self)

    def start(self, call: Call) -> None:  # noqa: D102 - as Place says, like the next four
        why = self.refusal(call.fn)
        if why is not None:
            raise PlaceUnavailable(why)
        payload: bytes | None = None
        sent = tuple(call.args)
        if call.kwargs or not all(map(_worker.shared, sent)):
            payload, buffers = pack_arguments(call)
            sent = tuple([it.obj if type(it.obj) is bytes else bytes(it) for it in buffers])
        executor = self._started()
        if not call.begin(self._where):
            return
        with self._lock:
            self._running[call] = time.monotonic()
        try:
            future = executor.submit(_run_there, call.fn, payload, sent)
        except Exception as error:  # noqa: BLE001 - begun, so its end has to be reported
            failure = PlaceUnavailable(f"no interpreter can be had: {error}")
            failure.__cause__ = error
            self._ended(call, (False, failure))
            return
        future.add_done_callback(lambda future: self._done(call, future))

    def cancel(self, call: Call, reason: Reason) -> None:  # noqa: D102
        del call, reason  # there is no way to stop it

    def resize(self, limit: int) -> None:  # noqa: D102
        with self._lock:
            grown = limit > self._plan.limit
            self._plan = Plan(self._plan.pool, limit, self._plan.initializer, self._plan.initargs)
            old, self._executor = (self._executor, None) if grown else (None, self._executor)
        if old is not None:
            old.shutdown(wait=False)

    def close(self) -> None:  # noqa: D102
        with self._lock:
            self._closed = True
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=False)

    def kill(self) -> None:  # noqa: D102
        self.close()
        threading.Thread(target=self._leave, name="offloop-exit", daemon=True).start()

    def refusal(self, fn: Callable[..., Any]) -> str | None:  # noqa: D102
        return _refused.get(_key(fn))

    def _started(self) -> Executor:
        """Give the executor; the interpreters themselves start with the calls."""
        from concurrent.futures import InterpreterPoolExecutor  # type: ignore[attr-defined]

        _install_exit_hook()
        with self._lock:
            if self._closed:
                raise Closed("the pool is closed")
            executor = self._executor
            if executor is None:
                boot = _BOOT.format(
                    name=_worker.NAME,
                    path=_worker.__file__,
                    sys_path=[str(entry) for entry in sys.path],
                )
                if self._initializer is not None:
                    boot += f"function, arguments = w.pickle.loads({self._initializer!r})\n"
                    boot += "function(*arguments)\n"
                executor = self._executor = InterpreterPoolExecutor(
                    self._plan.limit, f"offloop-{self._plan.pool}", exec, (boot,)
                )
            return executor

    def _done(self, call: Call, future: Future[Any]) -> None:
        from concurrent.interpreters import NotShareableError  # type: ignore[import-not-found]

        try:
            kind, payload, buffers = future.result()
        except NotShareableError as error:
            self._refuse(call, error.__cause__ or error)
            return
        except BaseException as error:  # noqa: BLE001 - the awaiter gets it
            failure = OffloadError(f"the interpreter, or its initializer, failed: {error!r:.500}")
            failure.__cause__ = error
            self._ended(call, (False, failure))
            return
        if kind == _worker.SHARED:
            self._ended(call, (True, payload))
            return
        result = outcome(call, kind, payload, buffers, self._where)
        what = result[1]
        if isinstance(what, NotPicklable) and what.what == "the call":  # cannot be rebuilt there
            self._refuse(call, what)
        else:
            self._ended(call, result)

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

    def _leave(self) -> None:
        """End the process although calls run: Python would wait for their threads for ever."""
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
        with self._lock:
            self._running.pop(call, None)
            self._moved.pop(call, None)
            last = self._closed and not self._running
        if last:
            self._emptied()
        report(call, result)


@functools.cache
def _install_exit_hook() -> None:
    """Be asked before concurrent.futures, whose hook waits for its threads without an end."""
    import concurrent.futures.thread  # noqa: F401 - its hook is registered first, so runs last

    def close_all() -> None:
        for place in list(_places):
            place.kill()

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
