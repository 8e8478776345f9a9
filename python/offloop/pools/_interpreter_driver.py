"""One interpreter and the two threads that go with it.

The thread inside enters the interpreter once and stays there: entering costs more than all the
rest of a short call. While it waits and while it runs calls it needs no lock of this interpreter's,
so it is in no event loop's way. The other thread brings outcomes home: it waits without the GIL and
runs Python here, where results are unpickled and reported.

Values cross in a pair of the standard library's queues, which do not wait; a byte in a pipe says
that something is there. A worker belongs to one thread at a time: to whoever took it from the idle
ones (`offloop.pools.interpreter`) until the call is handed over, then to the thread that brings
outcomes home. Its lock is for the case that the interpreter ends unasked.
"""

from __future__ import annotations

import os
import threading
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from offloop import _lifecycle
from offloop.exceptions import InternalError
from offloop.pools import _worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from offloop.pools._base import Call
    from offloop.pools.interpreter import InterpreterPlace

KNOWN = 64
"""Functions that a worker keeps; arbitrary. The oldest one is sent again when it is needed."""


def _serve_there(orders: Any, replies: Any, bell: int, home: int) -> None:
    """Run calls there. This needs nothing of its module, so its code is all that is sent."""
    import _offloop_worker  # type: ignore[import-not-found]

    _offloop_worker.serve_interpreter(orders, replies, bell, home)


class Worker:
    """One interpreter, the thread inside, and the thread that brings its outcomes home."""

    def __init__(self, place: InterpreterPlace, name: str) -> None:
        from concurrent.interpreters import (  # type: ignore[import-not-found]
            create,
            create_queue,
        )

        self.call: Call | None = None
        """What it runs, or is about to."""
        self.failure: BaseException | None = None
        """Why the interpreter came to an end that nobody asked for."""
        self._lock = threading.Lock()
        self._over = False
        """The pipes are closed, or about to be."""
        self._place = place
        self._name = name
        self._create = create
        self._orders = create_queue()
        self._replies = create_queue()
        self._bell, self._ring = os.pipe()
        try:
            self._home, self._ring_home = os.pipe()
        except OSError:
            os.close(self._bell)
            os.close(self._ring)
            raise
        self._known: dict[int, tuple[Any, Any, int]] = {}
        """Functions that the interpreter keeps, by identity: the function, its code, its slot."""
        self._slots: list[int] = [0] * KNOWN
        """Whose function is in which slot."""
        self._next_slot = 0

    def take(self, call: Call, payload: bytes | None, sent: tuple[Any, ...]) -> None:
        """Hand a call over; does not wait. NotShareableError if its function cannot be."""
        fn = call.fn
        known = self._known.get(id(fn))
        if known is not None and known[1] is getattr(fn, "__code__", None):
            slot, order = known[2], _worker.ORDER
        else:
            self._orders.put_nowait(fn)  # first: it may fail
            slot, order = self._slot_for(fn), _worker.NEW_FUNCTION
        with self._lock:
            if self._over:
                raise InternalError("the interpreter ended without having been asked")
            self.call = call
            self._orders.put_nowait((slot, payload, sent))
            os.write(self._ring, order)

    def hire(self, boot: str) -> None:
        """Start the threads; the second one starts the first, which makes the interpreter."""
        self._boot = boot
        _start_thread(self._bring_home, f"offloop-{self._name}-home")

    def dismiss(self) -> None:
        """Let it end. For whom it belongs to; it has no call."""
        with self._lock:
            if not self._over:
                os.write(self._ring, _worker.LEAVE)

    def discard(self) -> None:
        """Close what was opened. For one that was not hired, or whose first thread has ended."""
        with self._lock:
            over, self._over = self._over, True
        if not over:
            for pipe in (self._bell, self._ring, self._home, self._ring_home):
                os.close(pipe)

    def forget(self, fn: Callable[..., Any]) -> None:
        """Send a function again the next time: the interpreter could not rebuild it."""
        self._known.pop(id(fn), None)

    def _slot_for(self, fn: Callable[..., Any]) -> int:
        """Give a function a place among those that are kept; -1 for what may have a state."""
        if not _is_stateless(fn):
            return -1
        known = self._known.get(id(fn))
        if known is not None:  # with other code
            slot = known[2]
        else:
            slot = self._next_slot
            self._next_slot = (slot + 1) % KNOWN
            self._known.pop(self._slots[slot], None)
            self._slots[slot] = id(fn)
        self._known[id(fn)] = fn, getattr(fn, "__code__", None), slot
        return slot

    def _stay_inside(self) -> None:
        """Make the interpreter and stay in it until it is dismissed: this is the first thread."""
        try:
            interpreter = self._create()
            try:
                interpreter.call(exec, self._boot)
                interpreter.call(
                    _serve_there, self._orders, self._replies, self._bell, self._ring_home
                )
            finally:
                interpreter.close()
        except BaseException as error:  # noqa: BLE001 - the awaiter gets it
            self.failure = error
        finally:
            os.write(self._ring_home, _worker.LEAVE)

    def _bring_home(self) -> None:
        """Report outcomes until the interpreter has ended: this is the second thread."""
        try:
            _start_thread(self._stay_inside, f"offloop-{self._name}-interpreter")
        except RuntimeError as error:  # the system has no thread left
            self.failure = error
        else:
            while os.read(self._home, 1) == _worker.ORDER:
                try:
                    self._place._came_home(self, self._replies.get_nowait)
                except BaseException as error:  # noqa: BLE001 - what is wrong here stays so
                    self.failure = error
                    self.dismiss()
        self.discard()
        self._place._lost(self)


def _is_stateless(fn: Callable[..., Any]) -> bool:
    """Tell whether one copy of a function is as good as the next: it is its code, or its name."""
    kind = type(fn)
    if kind is BuiltinFunctionType:
        return isinstance(fn.__self__, (ModuleType, type(None)))  # type: ignore[attr-defined]
    return kind is FunctionType or kind is type


def _start_thread(target: Callable[[], object], name: str) -> None:
    """Start a thread that is waited for at exit: Python must not end with interpreters left.

    Its stack is as large as the system makes it: this Python knows how much of it is left.
    """
    with _lifecycle.entering() as late:
        if late:
            raise RuntimeError("the interpreter is exiting")
        threading.Thread(target=target, name=name).start()
