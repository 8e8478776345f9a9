"""One worker process and the thread of the parent's that drives it.

The thread starts the process, reads its answers, gives outcomes home and reaps it. Since each
worker has its own, what is in one worker's way, a death, a large result, an object that takes long
to unpickle, is in nobody else's. Fields that several threads use are written under the lock of the
place (`offloop.pools.process`). Frames are in `offloop.pools._worker`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from offloop import _lifecycle
from offloop.exceptions import InternalError
from offloop.pools import _worker
from offloop.pools._packing import (
    Order,
    death,
    exhausted,
    outcome,
    refusal,
    report,
    report_failure,
)
from offloop.pools.thread import STACK_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from offloop.pools.process import ProcessPlace

KILL_GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL: enough for a handler of the user's, not more."""
REAP_GRACE = 1.0
"""Seconds in which a worker whose channel is closed has to end by itself."""

_BOOT = (
    "import sys, importlib.machinery as m\n"
    "n, p, c, l, x = sys.argv[1:]\n"
    "w = sys.modules[n] = type(sys)(n)\n"
    "exec(m.SourceFileLoader(n, p).get_code(n), w.__dict__)\n"
    "w.serve(int(c), int(l), int(x))"
)
"""The worker's first lines: as a script it would be compiled each time, and its folder imported
from."""

_drivers: set[Worker] = set()
"""Workers whose threads run."""
_drivers_lock = threading.Lock()


def drivers() -> list[Worker]:
    """Give all workers whose threads run, of all pools."""
    with _drivers_lock:
        return list(_drivers)


def after_fork_in_child() -> None:
    """Close the parent's ends: its workers must see them close when the parent goes."""
    global _drivers_lock  # noqa: PLW0603 - the old one may be held by a thread of the parent's
    _drivers_lock = threading.Lock()
    for worker in _drivers:
        worker.abandon()
    _drivers.clear()


class Worker:
    """One process, and the thread that drives it."""

    def __init__(self, place: ProcessPlace, name: str, order: Order) -> None:
        self.order: Order | None = order
        """What it runs, or is about to; written under the place's lock."""
        self.jobs = 0
        self.killed = False
        """Written under the place's lock: no more calls for this one."""
        self.pid: int | None = None
        self.handing = threading.Lock()
        """Held from the moment an idle worker is given an order until that is written or not."""
        self._place = place
        self._name = name
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: _worker.Channel | None = None
        self._lifeline = -1
        """The end of a pipe on which nothing is ever written: see `_live_as_long_as_parent`."""
        self._cancels = -1
        """The end of a pipe on which goes the number of a call that nobody waits for any longer."""
        self._sent = 0
        """Calls that were written to the worker, which counts them, too."""
        self.thread: threading.Thread | None = None

    def join(self, seconds: float) -> None:
        """Wait for the thread, which waits for the process."""
        if self.thread is not None:
            self.thread.join(max(0.0, seconds))

    @property
    def where(self) -> str:
        """What `Job.where` says."""
        return f"process:{self.pid}"

    def hire(self) -> None:
        """Start the thread, which starts the process."""
        self.thread = _start_thread(self._drive, f"offloop-{self._name}-process")

    def take(self, order: Order) -> None:
        """Begin `order`, which is this worker's already. In any thread; does not wait.

        `handing` has been acquired, and is released here.
        """
        try:
            self._take(order)
        finally:
            self.handing.release()

    def _take(self, order: Order) -> None:
        if not order.begin(self.where):
            if not self._place._release(self):
                self.dismiss()
            return
        channel = self._channel
        if channel is not None:
            self._sent += 1
            try:
                channel.sock.sendall(order.first)
            except OSError:  # the worker's thread hears of it too, and sees to the order
                order.unread = True
            if order.call.cancelled():  # since before it was counted
                self.tell_cancelled()

    def tell_cancelled(self) -> None:
        """Let the present call know, if it asks, that nobody waits for it. Does not wait."""
        if self._cancels >= 0:
            # A pipe full of cancels that no function has asked for tells nothing new; one without
            # a reader is that of a process which has gone.
            with contextlib.suppress(OSError):
                os.write(self._cancels, struct.pack("<Q", self._sent))

    def kill(self) -> None:
        """Under the place's lock: SIGTERM, and SIGKILL if that does not help."""
        if self.killed:
            return
        self.killed = True
        self.signal(signal.SIGTERM)
        threading.Thread(target=self._insist, name="offloop-kill", daemon=True).start()

    def signal(self, number: int) -> None:
        """Send a signal, if there is a process."""
        self.killed = True
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def dismiss(self) -> None:
        """Let it end: it finds its channel closed when it looks for the next call."""
        if self._channel is not None:
            with contextlib.suppress(OSError):
                self._channel.sock.shutdown(socket.SHUT_WR)

    def abandon(self) -> None:
        """In a forked child: close what belongs to the parent."""
        with contextlib.suppress(OSError):
            if self._channel is not None:
                self._channel.sock.close()
            for pipe in (self._lifeline, self._cancels):
                if pipe >= 0:
                    os.close(pipe)
        self._process = None

    def _insist(self) -> None:
        if _end_of(self._process, KILL_GRACE) is None:
            self.signal(signal.SIGKILL)

    def _drive(self) -> None:
        """Go with the process from its start to its end: this is the thread."""
        with _drivers_lock:
            _drivers.add(self)
        try:
            try:
                # Inherited: the process is deaf to Ctrl-C until it has a handler of its own.
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
                self._launch()
            except OSError as error:
                self._refused(error)
            else:
                self._attend()
                self._reap()
            self._place._rescue()
        finally:
            with _drivers_lock:
                _drivers.discard(self)

    def _refused(self, error: OSError) -> None:
        """Have others do the call: the system gives us no process."""
        with self._place._lock:
            self._place._forget(self)
            order, self.order = self.order, None
        if order is not None and not self._place._strand(order):
            report_failure(order, exhausted("cannot start a process", error), self.where)

    def _launch(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            inherited = [theirs.fileno()]
            try:
                pipe, self._lifeline = os.pipe()
                inherited.append(pipe)
                pipe, self._cancels = os.pipe()
                inherited.append(pipe)
                os.set_blocking(self._cancels, False)
                arguments = [_worker.NAME, _worker.__file__, *map(str, inherited)]
                process = subprocess.Popen(  # noqa: S603 - this very interpreter
                    [sys.executable, *_interpreter_flags(), "-c", _BOOT, *arguments],
                    pass_fds=inherited,
                )
            except BaseException:
                ours.close()
                self._close_pipes()
                raise
            finally:
                for pipe in inherited[1:]:
                    os.close(pipe)
        with self._place._lock:
            self._process = process
            self.pid = process.pid
            self._channel = _worker.Channel(ours)
            if self.killed:  # while it was starting
                self.signal(signal.SIGKILL)

    def _attend(self) -> None:
        """Greet the process, then take its answers until it goes or has to go."""
        channel = self._channel
        if channel is None:
            return
        unread, nonsense = False, None
        try:
            if self._greet(channel):
                self._serve(channel)
        except (EOFError, OSError) as error:
            unread = isinstance(error, ConnectionResetError)
        except Exception as error:  # noqa: BLE001 - it does not speak as a worker does
            self.signal(signal.SIGKILL)
            nonsense = error
        self._mourn(unread=unread, nonsense=nonsense)

    def _greet(self, channel: _worker.Channel) -> bool:
        """Tell the worker what it is, and give it its first call. False when it is no use."""
        channel.send(_worker.HELLO, self._place._hello())
        kind, payload, _ = channel.receive()
        order = self.order
        if order is None:
            raise InternalError("a worker was hired without a call")
        if kind == _worker.REFUSED:
            with self._place._lock:
                self._place._forget(self)
                self.order = None
            report_failure(order, refusal(payload, self._name), self.where)
            return False
        idle = _timeval(self._place._idle_seconds)
        channel.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, idle)
        self.handing.acquire()
        self.take(order)
        return True

    def _serve(self, channel: _worker.Channel) -> None:
        while True:
            try:
                kind, payload, buffers = channel.receive()
            except BlockingIOError:  # silent for `idle` seconds
                if self._place._retire(self):
                    return
                continue
            order = self.order
            if order is None:
                raise InternalError("a worker answered without having been asked")
            if kind == _worker.GO:
                channel.send_pieces(order.pieces)
                continue
            result = outcome(order.call, kind, payload, buffers, f"{self.where} of {self._name}")
            del payload, buffers
            # First, because the end of one call is mostly the start of the next.
            stays = self._place._release(self)
            report(order.call, result)
            del order, result
            if not stays:
                return
            self._place._rescue()

    def _mourn(self, *, unread: bool, nonsense: Exception | None) -> None:
        """Report what was lost: the call it was in the middle of, and nothing else."""
        with self._place._lock:
            self._place._forget(self)
            order, self.order = self.order, None
            killed = self.killed
        if order is None:
            return
        with self.handing:  # whoever hands it over has come to an end
            unread = unread or order.unread
        if unread and not order.retried and not killed:
            # It died before it read the call: while idle, killed for its memory perhaps.
            order.retried, order.unread = True, False
            self._place._dispatch(order)
            return
        status = _end_of(self._process, REAP_GRACE)
        report_failure(order, death(order.call, self.pid, status, nonsense), self.where)

    def _reap(self) -> None:
        """Wait for the process to end; make it, if it does not."""
        if self._channel is not None:
            self._channel.sock.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            if _end_of(self._process, REAP_GRACE) is not None:
                break
            self.signal(number)
        _end_of(self._process, None)
        with self._place._lock:  # nobody is about to write into what may become another file
            self._close_pipes()

    def _close_pipes(self) -> None:
        pipes, self._lifeline, self._cancels = (self._lifeline, self._cancels), -1, -1
        for pipe in pipes:
            if pipe >= 0:
                os.close(pipe)


def _start_thread(target: Callable[[], object], name: str) -> threading.Thread:
    """Start a daemon: the interpreter's exit waits for workers in `_end_all`, and no longer."""
    with _lifecycle.entering() as late:
        if late:
            raise RuntimeError("the interpreter is exiting")
        previous = threading.stack_size()
        threading.stack_size(max(previous, STACK_BYTES))
        try:
            thread = threading.Thread(target=target, name=name, daemon=True)
            thread.start()
        finally:
            threading.stack_size(previous)
    return thread


def _interpreter_flags() -> list[str]:
    """Give the options this interpreter was started with, as multiprocessing passes them on."""
    return subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined, no-any-return]


def _timeval(seconds: float) -> bytes:
    whole = int(seconds)
    return struct.pack("ll", whole, int((seconds - whole) * 1e6))


def _end_of(process: subprocess.Popen[bytes] | None, seconds: float | None) -> int | None:
    """Give the status of a process that has ended, or ends within `seconds`."""
    if process is None:
        return None
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
