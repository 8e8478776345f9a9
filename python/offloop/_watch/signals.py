"""Prepares the route by which a blocked thread writes its own stack: one signal, one pipe.

Python's part is settings alone, made once for the process (the handler) and once for each loop
(whom to signal). Sending and reading is the native thread's. See docs/decisions/0030.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import struct
import sys
import threading
from pathlib import Path

from offloop import _offloop

SIGNAL_VARIABLE = "OFFLOOP_WATCH_SIGNAL"
"""Names the signal to use: a number, ``SIGUSR2``, or ``SIGRTMIN+5``; ``none`` for no signal."""

F_SETSIG = 10
F_SETOWN_EX = 15
F_OWNER_TID = 0
"""From Linux' ``fcntl.h``; the module `fcntl` does not have them."""

_lock = threading.Lock()
_prepared: tuple[int, _offloop.Dumps] | None = None


class SignalInUseError(ValueError):
    """The signal that was asked for has a handler already, or is ignored or blocked."""


def prepare(wanted: int | str | None) -> _offloop.Dumps | None:
    """Install faulthandler's handler, once; None where there is no such route.

    Raises ValueError when `wanted` is no signal, or has a use already.
    """
    global _prepared  # noqa: PLW0603 - a signal has one handler in a process
    if sys.platform != "linux":
        return None
    if wanted is None:
        wanted = os.environ.get(SIGNAL_VARIABLE)
    if isinstance(wanted, str) and wanted.lower() == "none":
        return None
    with _lock:
        if _prepared is not None:
            number = None if wanted is None else _number(wanted)
            if number is not None and number != _prepared[0]:
                raise SignalInUseError(f"the watchdog uses signal {_prepared[0]} already")
            return _prepared[1]
        number = _choose() if wanted is None else _number(wanted)
        if number is None:
            return None
        if not _is_free(number):
            raise SignalInUseError(f"signal {number} is in use")
        dumps = _offloop.Dumps(number)
        if dumps.descriptor is None:
            return None
        faulthandler.register(number, file=dumps.descriptor, all_threads=False, chain=False)
        # Never unregistered: a signal that is on its way would end the process.
        _prepared = (number, dumps)
        return dumps


def prod_this_thread() -> _offloop.Prod | None:
    """Make a pipe that has the kernel signal this thread when something is written to it."""
    if _prepared is None:
        return None
    import fcntl

    prod = _offloop.Prod()
    descriptor = prod.descriptor
    if descriptor is None:
        return None
    owner = struct.pack("ii", F_OWNER_TID, threading.get_native_id())
    try:
        fcntl.fcntl(descriptor, F_SETOWN_EX, owner)
        fcntl.fcntl(descriptor, F_SETSIG, _prepared[0])
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)
    except OSError:  # a sandbox that knows no such thing: looks are left
        return None
    return prod


def _number(wanted: int | str) -> int:
    if isinstance(wanted, str):
        name, _, offset = wanted.strip().upper().partition("+")
        known = getattr(signal, name, None)
        if known is None and not name.isdigit():
            raise ValueError(f"no such signal: {wanted}")
        wanted = int(known if known is not None else name) + int(offset or 0)
    if not 1 <= wanted < signal.NSIG or wanted in {signal.SIGKILL, signal.SIGSTOP}:
        raise ValueError(f"no such signal: {wanted}")
    return int(wanted)


def _choose() -> int | None:
    """Find a real-time signal that nobody uses; those at the ends are the popular ones."""
    candidates = range(signal.SIGRTMAX - 3, signal.SIGRTMIN + 3, -1)
    return next((number for number in candidates if _is_free(number)), None)


def _is_free(number: int) -> bool:
    """Whether the signal has its default action, for the system and for Python."""
    if signal.getsignal(number) is not signal.SIG_DFL:
        return False
    bit = 1 << (number - 1)
    for line in (
        Path("/proc/thread-self/status").read_text(encoding="ascii", errors="replace").splitlines()
    ):
        name, _, mask = line.partition(":")
        if name in {"SigCgt", "SigIgn", "SigBlk"} and int(mask, 16) & bit:
            return False
    return True
