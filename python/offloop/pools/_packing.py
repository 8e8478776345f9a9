"""Calls as frames, and frames as outcomes: what travels, and what is said of what does not.

Runs in the thread that starts a call, or in that of the worker. Pickling and unpickling are code of
users: whatever they raise becomes NotPicklable, and harms no worker.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import pickle
import signal
import sys
import types
from typing import TYPE_CHECKING, Any

from offloop.exceptions import (
    InternalError,
    LifecycleError,
    NotPicklable,
    OffloadError,
    OffloopError,
    PlaceUnavailable,
    ResourceExhausted,
    WorkerDied,
)
from offloop.pools import _worker, _worker_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from offloop.pools._base import Call, Plan


class RemoteTraceback(Exception):
    """The cause of an exception from another process: its traceback there, as text."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


class Order:
    """A call on its way to a worker, packed."""

    __slots__ = ("began", "call", "first", "pieces", "retried", "unread")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.first, self.pieces = pack_call(call)
        self.began = False
        self.retried = False
        """Whether it has gone to a second worker, because the first had died before."""
        self.unread = False
        """Whether it could not be written to a worker."""

    def begin(self, where: str) -> bool:
        """Note that it runs now, unless it was called off before."""
        self.began = self.began or self.call.begin(where)
        return self.began


def pack_call(call: Call) -> tuple[bytes, Sequence[_worker.Buffer]]:
    """Make function and arguments a frame. Raises NotPicklable, which names what cannot travel."""
    return _worker.split(_worker.CALL, *_pack(call, call.fn))


def pack_initializer(plan: Plan) -> bytes | None:
    """Pack a pool's initializer, for the hello to its workers."""
    if plan.initializer is None:
        return None
    try:
        return _worker.pack_in_band((plan.initializer, plan.initargs))
    except Exception as error:
        raise NotPicklable(
            f"the initializer cannot be pickled: {_worker_errors.said(error)}"
        ) from error


def pack_arguments(call: Call) -> tuple[bytes, list[memoryview]]:
    """Pack the arguments alone, for a place where functions travel by another way."""
    return _pack(call, None)


class _Wrapped:
    """A function below its decorator; unpickling it gives the function."""

    def __init__(self, decorated: object) -> None:
        self._decorated = decorated

    def __reduce__(self) -> Any:
        return getattr, (self._decorated, "__wrapped__")


class _Method:
    """A method below its decorator; unpickling it gives the function with the object."""

    def __init__(self, function: _Wrapped, instance: object) -> None:
        self._function = function
        self._instance = instance

    def __reduce__(self) -> Any:
        return functools.partial, (self._function, self._instance)


def reachable(fn: Any) -> Any:
    """Have a decorated function found through what its name stands for now: its decorator's."""
    if isinstance(fn, types.MethodType):
        function = reachable(fn.__func__)
        return _Method(function, fn.__self__) if isinstance(function, _Wrapped) else fn
    try:
        name, module = fn.__qualname__, fn.__module__
    except Exception:  # noqa: BLE001 - of an object, this is code of users
        return fn
    if not isinstance(name, str) or not isinstance(module, str) or "<" in name:
        return fn
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None or found is fn or getattr(found, "__wrapped__", None) is not fn:
        return fn
    return _Wrapped(found)


def _pack(call: Call, fn: object) -> tuple[bytes, list[memoryview]]:
    whole = (
        reachable(fn),
        tuple([_worker.outside(it) for it in call.args]),
        {name: _worker.outside(it) for name, it in call.kwargs.items()},
    )
    try:
        if _module(fn) == "__main__" and main_module() == (None, None):
            by_value = _worker.by_value_pickler()
            if by_value is None:
                raise PlaceUnavailable(  # noqa: TRY301
                    "it is defined in a main module that is no file; put it into a module of its "
                    "own, or install cloudpickle"
                )
            payload, buffers = _worker.dump(by_value, whole)
        else:
            payload, buffers = _worker.pack(whole)
    except Exception as error:
        raise _not_picklable(call, error) from error
    # What can change is copied now: the call gets what it was given, whatever is done to it later.
    return payload, [it if it.readonly else memoryview(bytearray(it)) for it in buffers]


def _module(fn: object) -> object:
    try:
        return getattr(fn, "__module__", None)
    except Exception:  # noqa: BLE001 - of an object, this is code of users
        return None


def _not_picklable(call: Call, error: Exception) -> NotPicklable:
    name = _worker.full_name(call.fn)
    parts = [("the function", reachable(call.fn))]
    parts += [(f"argument {index}", part) for index, part in enumerate(call.args, 1)]
    parts += [(f"argument {key!r}", part) for key, part in call.kwargs.items()]
    guilty = next(((what, part) for what, part in parts if not _pickles(part)), ("the call", None))
    what, part = _worker_errors.culprit(_worker.pack, guilty[1], guilty[0])
    kind = _worker.full_name(type(part))
    text = f"{what} of {name}, of type {kind}, cannot be pickled: {_worker_errors.said(error)}"
    return NotPicklable(text, what=what, type_name=kind)


def _pickles(part: object) -> bool:
    try:
        _worker.pack(part)
    except Exception:  # noqa: BLE001 - whatever __reduce__ raises
        return False
    return True


def outcome(
    call: Call, kind: int, payload: _worker.Buffer, buffers: Sequence[_worker.Buffer], where: str
) -> tuple[bool, Any]:
    """Whether the call succeeded, and its value or its exception."""
    name = _worker.full_name(call.fn)
    if kind == _worker.VALUE:
        try:
            return True, pickle.loads(payload, buffers=buffers)
        except BaseException as error:  # noqa: BLE001 - unpickling is code of users
            failure = NotPicklable(
                f"the result of {name} cannot be rebuilt: {_worker_errors.shown(error)}"
            )
            failure.what = "the result"
            failure.__cause__ = error
            return False, failure
    if kind == _worker.REFUSED:
        return False, refusal(payload, name)
    if kind != _worker.RAISED:
        raise InternalError(f"a worker sent a frame of kind {kind}")
    described, text, pickled, why = pickle.loads(payload)
    if pickled is not None:
        try:
            raised = pickle.loads(pickled)
        except BaseException as reason:  # noqa: BLE001 - as above
            why = _worker_errors.shown(reason)
        else:
            if isinstance(raised, BaseException):
                with contextlib.suppress(Exception):  # it may forbid both
                    raised.__cause__ = RemoteTraceback(text)
                    raised.add_note(f"raised in {where}")
                return False, raised
            why = f"it comes back as {_worker.full_name(type(raised))}"
    failure = NotPicklable(f"{name} raised {described}; this exception does not travel: {why}")
    failure.what = "the exception"
    failure.__cause__ = RemoteTraceback(text)
    return False, failure


def refusal(payload: _worker.Buffer, name: str) -> OffloopError:
    """Make an error of what a worker could not do."""
    reason, what, type_name, described, text = pickle.loads(payload)
    error: OffloopError
    if reason == "main":
        error = LifecycleError(
            f"{name} needs the main module, which a worker cannot import: {described}. Guard what "
            'starts the program with `if __name__ == "__main__":`'
        )
    elif reason == "initializer":
        error = OffloadError(f"the initializer of pool {name} failed: {described}")
    else:
        error = NotPicklable(f"{what} of {name} {reason}: {described}")
        error.what, error.type_name = what, type_name
    error.__cause__ = RemoteTraceback(text)
    return error


def report_failure(order: Order, error: OffloopError, where: str) -> None:
    """Report an order that no worker has carried out."""
    if order.begin(where):
        report(order.call, (False, error))


def report(call: Call, outcome: tuple[bool, Any]) -> None:
    succeeded, value = outcome
    try:
        if succeeded:
            call.set_result(value)
        else:
            call.set_exception(value)
    except Exception:
        logging.getLogger("offloop").exception("the outcome of %s is lost", call.fn)


def death(
    call: Call, pid: int | None, status: int | None, nonsense: Exception | None
) -> WorkerDied:
    name = _worker.full_name(call.fn)
    how, code, number = "ended", status, None
    if status is not None and status < 0:
        code, number = None, -status
        with contextlib.suppress(ValueError):
            how = f"was killed by {signal.Signals(number).name}"
        if number == signal.SIGKILL:
            how += " (by the system for want of memory, if nobody else did it)"
    elif status == _worker.OUT_OF_MEMORY:
        how = "had no memory left"
    elif status is not None:
        how = f"exited with code {status}"
    if nonsense is not None:
        how = f"did not answer as a worker does, and was killed ({nonsense!r:.200})"
    text = f"worker process {pid} {how} while it ran {name}"
    return WorkerDied(text, pid=pid, exit_code=code, signal=number)


def exhausted(what: str, cause: Exception) -> ResourceExhausted:
    error = ResourceExhausted(f"{what}: {cause}")
    error.errno = getattr(cause, "errno", None) or errno.EAGAIN
    error.__cause__ = cause
    return error


def main_module() -> tuple[str | None, str | None]:
    """Name and path of the main module, for a worker to import it; None for what it has not."""
    main = sys.modules.get("__main__")
    path = getattr(main, "__file__", None)
    if path is not None and not os.path.isfile(path):  # noqa: PTH113 - pathlib is slow to import
        path = None  # <stdin>
    return getattr(getattr(main, "__spec__", None), "name", None), path
