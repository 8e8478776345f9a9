"""What runs in a worker process, and the frames in which it speaks with its parent.

The parent imports this module for the frames; the worker runs it by its path, so that neither
offloop nor its extension is imported there unless a user's module does it. Start-up time counts:
what is imported here is C, or lies in the interpreter anyway. All of it runs in the worker's main
thread; the parent's side is `offloop.pools.process`.

A frame is a head and a payload, and small enough to be written and read at once. What is larger is
announced: the frame then holds the sizes of its pieces, the receiver answers GO and reads each
piece into an object of just that size. Both sides take turns, so nobody reads beyond his frame.
Payload and large buffers go from their own memory into the socket and come out as their own
objects (pickle protocol 5), which decision 24 found quicker than shared memory.
"""

from __future__ import annotations

import os
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pickle
    import signal
    import socket
    from collections.abc import Callable, Sequence
    from typing import Any

    Buffer = bytes | bytearray | memoryview
    Frame = tuple[int, Buffer, Sequence[Buffer]]
    Reply = tuple[int, Buffer, Sequence[memoryview]]
else:
    try:
        import _pickle as pickle
        import _signal as signal
        import _socket as socket
    except ImportError:  # another Python than CPython
        import pickle
        import signal
        import socket

HELLO, CALL, GO = 1, 2, 3
"""Kinds of frames to the worker: who it is, what to run, permission to send the pieces."""
READY, VALUE, RAISED, REFUSED, SHARED = 4, 5, 6, 7, 8
"""And from it. REFUSED: the call or its outcome cannot travel, or the worker cannot begin.
SHARED: between interpreters, the value itself."""

ORDER, NEW_FUNCTION, LEAVE = b"o", b"f", b"l"
"""What a byte in an interpreter's pipes says: there is something in the queue; there is a function,
and then the call; come out, or: I have."""

HEAD = struct.Struct("<BxxxIQ")
"""Kind, number of pieces that follow (0: none), bytes of the payload."""
AT_ONCE = 32 * 1024
"""Bytes of a frame that is written at once: less than the least send buffer of a socket, so that
the thread of an event loop can write it without waiting."""
OUT_OF_BAND = 64 * 1024
"""Bytes from which a buffer is worth a piece of its own."""
PIECES = 4_000
"""Pieces of a frame at most, for their sizes have to fit into it; more travel in the payload."""
WRITABLE = 1 << 63
"""Set in the size of a piece that has to arrive as a bytearray."""
IOVECS = 64
"""Pieces handed to one system call; POSIX promises 16, every system has 1024."""
STACK_BYTES = 16 * 1024 * 1024
OUT_OF_MEMORY = 71
"""Exit code of a worker that has no memory for its next call (arbitrary)."""
NAME = "_offloop_worker"
"""The name under which a worker knows this module, and others recognise a worker."""

running: tuple[Any, float] | None = None
"""The function that runs in this worker, and since when (`time.monotonic`)."""
pool = ""
"""The name of the pool this worker belongs to."""
_calls = 0
"""Calls this worker has received; its parent counts them, too."""
_last_cancelled = 0
"""The number of the last of them that nobody waits for any longer."""
_cancels = -1
"""The pipe on which the parent writes such numbers."""
importing_main = False
"""Whether this worker is importing the parent's main module, which must not start workers."""


class Channel:
    """One end of the socket between parent and worker."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.recv = sock.recv

    def receive(self) -> Frame:
        """Wait for the next frame, pieces included. EOFError when the other side is gone."""
        data = self.recv(HEAD.size + AT_ONCE)
        if not data:
            raise EOFError
        if len(data) < HEAD.size:
            data += self._exactly(HEAD.size - len(data))
        kind, pieces, size = HEAD.unpack_from(data)
        missing = HEAD.size + size - len(data)
        if missing > 0:
            data += self._exactly(missing)
        payload = memoryview(data)[HEAD.size :]
        if not pieces:
            return kind, payload, ()
        self.sock.sendall(frame(GO))
        sizes = struct.unpack(f"<{pieces}Q", payload)
        first, *others = [self._piece(size) for size in sizes]
        return kind, first, others

    def send(self, kind: int, payload: Buffer, buffers: Sequence[memoryview] = ()) -> None:
        """Send a frame; wait for permission to send its pieces, if it has any."""
        first, pieces = split(kind, payload, buffers)
        self.sock.sendall(first)
        if pieces:
            kind, _, _ = self.receive()
            if kind == GO:
                self.send_pieces(pieces)

    def send_pieces(self, pieces: Sequence[Buffer]) -> None:
        """Write the pieces of an announced frame, straight from where they lie."""
        rest = [memoryview(piece).cast("B") for piece in pieces if len(piece)]
        while rest:
            sent = self.sock.sendmsg(rest[:IOVECS])
            while rest and sent >= len(rest[0]):
                sent -= len(rest.pop(0))
            if sent:
                rest[0] = rest[0][sent:]

    def _piece(self, size: int) -> bytes | bytearray:
        if not size & WRITABLE:
            return self._exactly(size)
        piece = bytearray(size & ~WRITABLE)
        view = memoryview(piece)
        while view:
            try:
                got = self.sock.recv_into(view, len(view), socket.MSG_WAITALL)
            except BlockingIOError:  # the parent's timer for idle workers; this one is not idle
                continue
            if not got:
                raise EOFError
            view = view[got:]
        return piece

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            try:
                part = self.recv(size, socket.MSG_WAITALL)
            except BlockingIOError:
                continue
            if not part:
                raise EOFError
            size -= len(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def frame(kind: int, payload: Buffer = b"", pieces: int = 0) -> bytes:
    """Head and payload, as they are written."""
    return HEAD.pack(kind, pieces, len(payload)) + payload


def split(
    kind: int, payload: Buffer, buffers: Sequence[memoryview]
) -> tuple[bytes, Sequence[Buffer]]:
    """Give the frame to write at once, and the pieces to write when the receiver says GO."""
    if not buffers and len(payload) <= AT_ONCE:
        return frame(kind, payload), ()
    sizes = [len(payload), *(b.nbytes if b.readonly else b.nbytes | WRITABLE for b in buffers)]
    table = struct.pack(f"<{len(sizes)}Q", *sizes)
    return frame(kind, table, len(sizes)), [payload, *buffers]


def pack(value: object) -> tuple[bytes, list[memoryview]]:
    """Pickle `value`; large buffers stay where they are. With cloudpickle where pickle fails."""
    try:
        return dump(pickle.dumps, value)
    except Exception:
        by_value = by_value_pickler()
        if by_value is None:
            raise
        return dump(by_value, value)


def pack_in_band(value: object) -> bytes:
    """Pickle `value` into one piece."""
    try:
        return pickle.dumps(value, 5)
    except Exception:
        by_value = by_value_pickler()
        if by_value is None:
            raise
        return by_value(value, 5)


def dump(dumps: Callable[..., bytes], value: object) -> tuple[bytes, list[memoryview]]:
    """Pickle `value` by `dumps`; large buffers stay where they are."""
    buffers: list[memoryview] = []

    def keep_in_band(buffer: pickle.PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:  # not in one piece
            return True
        if raw.nbytes < OUT_OF_BAND or len(buffers) >= PIECES:
            return True
        buffers.append(raw)
        return False

    return dumps(value, 5, buffer_callback=keep_in_band), buffers


def by_value_pickler() -> Callable[..., bytes] | None:
    """Give ``cloudpickle.dumps``, which takes lambdas and local classes, if it is installed."""
    try:
        from cloudpickle import dumps
    except ImportError:
        return None
    return dumps  # type: ignore[no-any-return]


def outside(value: Any) -> Any:
    """Have a large `bytes`, or one in a tuple, travel as a buffer and arrive as `bytes`."""
    if type(value) is bytes:
        return pickle.PickleBuffer(value) if len(value) >= OUT_OF_BAND else value
    if type(value) is tuple and any(type(it) is bytes and len(it) >= OUT_OF_BAND for it in value):
        return tuple([outside(it) if type(it) is bytes else it for it in value])
    return value


def full_name(thing: Any) -> str:
    """Name a class or function, with its module if that says something."""
    try:
        module = getattr(thing, "__module__", None)
        name = str(getattr(thing, "__qualname__", None) or type(thing).__qualname__)
        said = module not in (None, "builtins", "__main__", "__mp_main__")
    except Exception:  # noqa: BLE001 - of an object, this is code of users
        return type.__repr__(type(thing))
    return f"{module}.{name}" if said else name


# What follows runs in the worker only: a process (`serve`) or an interpreter.


def serve_interpreter(orders: Any, replies: Any, bell: int, home: int) -> None:
    """Run calls in an interpreter until the parent says that it is enough.

    The parent's side is `offloop.pools._interpreter_driver`. Each call has a context of its own.
    """
    from _contextvars import Context

    functions: dict[int, Any] = {}
    while (what := os.read(bell, 1)) != LEAVE:
        try:
            function = orders.get_nowait() if what == NEW_FUNCTION else None
        except BaseException as error:  # noqa: BLE001 - it imports, which is code of users
            orders.get_nowait()
            reason = "cannot be rebuilt in the worker"
            reply: Any = _refuse(reason, "the call", "", error.__cause__ or error)
        else:
            slot, payload, buffers = orders.get_nowait()
            if function is None:
                function = functions[slot]
            elif slot >= 0:
                functions[slot] = function
            reply = Context().run(answer, function, payload, buffers)
        try:
            replies.put_nowait(reply)
        except MemoryError as error:
            replies.put_nowait(_raised(error))
        os.write(home, ORDER)
        # After it has gone: to let go of large bytes takes a while.
        function = payload = buffers = reply = None


def answer(function: Any, payload: Buffer | None, buffers: Sequence[Any]) -> Any:
    """Run one call in an interpreter; the reply in values that interpreters share.

    Without a payload, `buffers` are the arguments themselves: all of them are shared.
    """
    if payload is None:
        kind, reply, pieces = _call(function, buffers, {}, share=True)
    else:
        kind, reply, pieces = _run(payload, buffers, function)
    # A view of bytes travels as a view; its bytes travel as themselves, without a copy.
    return kind, reply, tuple([it.obj if type(it.obj) is bytes else bytes(it) for it in pieces])


def shared(value: Any) -> bool:
    """Tell whether interpreters hand `value` to each other as it is."""
    kind = type(value)
    if kind is int:
        return -(1 << 62) < value < 1 << 62  # type: ignore[no-any-return]
    return kind in (bytes, str, float, bool, type(None))


def serve(channel_fd: int, lifeline: int, cancels: int) -> None:
    """Run calls until the parent closes the channel."""
    global _calls, _cancels  # noqa: PLW0603 - one channel for a process
    _live_as_long_as_parent(lifeline)
    _cancels = cancels
    os.set_inheritable(cancels, False)
    os.set_blocking(cancels, False)
    signal.signal(
        signal.SIGINT, lambda *_: None
    )  # the terminal's Ctrl-C is for the parent; children get theirs
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    os.set_inheritable(channel_fd, False)
    channel = Channel(socket.socket(fileno=channel_fd))
    # A child forked by a call must not keep the channel open, nor answer in our place.
    os.register_at_fork(after_in_child=channel.sock.close)
    try:
        _, payload, _ = channel.receive()
        channel.send(*_begin(pickle.loads(payload)))
        while True:
            _, payload, buffers = channel.receive()
            _calls += 1
            reply = _run(payload, buffers)
            del payload, buffers
            channel.send(*reply)
            del reply
    except (EOFError, OSError):
        return
    except MemoryError:
        os._exit(OUT_OF_MEMORY)


def is_cancelled() -> bool:
    """Tell whether nobody waits for the call that runs; `offloop.check_cancelled` asks."""
    global _last_cancelled
    try:
        while data := os.read(_cancels, 4096):
            (_last_cancelled,) = struct.unpack("<Q", data[-8:])
    except OSError:  # nothing to read, at the latest now
        pass
    return _last_cancelled == _calls > 0


def _live_as_long_as_parent(lifeline: int) -> None:
    """Have the system end this process when the parent, who holds the other end, is gone.

    An idle worker sees its channel close, but one in the middle of a call does not look. The
    signal's default action is to terminate; where it is not (macOS), the call runs to its end.
    """
    import fcntl

    os.set_inheritable(lifeline, False)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | getattr(fcntl, "FASYNC", 0))


def _begin(hello: dict[str, Any]) -> Reply:
    """Become like the parent, and run the initializer. The reply says whether it went well."""
    global pool  # noqa: PLW0603 - as above
    pool = hello["pool"]
    sys.path[:] = hello["path"]
    sys.argv[:] = hello["argv"]
    likeness = _beside("_worker_likeness")
    likeness.share_key(hello["authkey"])
    likeness.limit(STACK_BYTES, hello["memory"])
    # Both names: a worker's own workers know the main module by the second.
    sys.modules["__main__"] = sys.modules["__mp_main__"] = likeness.lazy_main(
        sys.modules[NAME], *hello["main"]
    )
    if hello["initializer"] is not None:
        try:
            function, arguments = pickle.loads(hello["initializer"])
            function(*arguments)
        except BaseException as error:  # noqa: BLE001 - the parent tells the awaiter
            return _refuse("initializer", "", "", error)
    return READY, b"", ()


def _beside(name: str) -> Any:
    """Load a module that lies beside this file, without a search for it."""
    import importlib.machinery

    module = sys.modules.get(f"_offloop{name}")
    if module is None:
        path = os.path.join(os.path.dirname(_beside.__code__.co_filename), f"{name}.py")  # noqa: PTH118, PTH120 - pathlib would have to be imported
        module = type(sys)(f"_offloop{name}")
        code = importlib.machinery.SourceFileLoader(name, path).get_code(name)
        exec(code, module.__dict__)  # type: ignore[arg-type]  # noqa: S102 - ours
        sys.modules[module.__name__] = module
    return module


class MainFailedError(ImportError):
    """The parent's main module cannot be imported here."""


def _run(payload: Buffer, buffers: Sequence[Buffer], function: Any = None) -> Reply:
    """Run one packed call; the frame to answer with."""
    try:
        packed, args, kwargs = pickle.loads(payload, buffers=buffers)
    except BaseException as error:  # noqa: BLE001 - unpickling is code of users
        return _refuse("cannot be rebuilt in the worker", "the call", "", error)
    del payload, buffers
    reply: Reply = _call(function or packed, args, kwargs)
    return reply


def _call(function: Any, args: Any, kwargs: Any, *, share: bool = False) -> Any:
    global running  # noqa: PLW0603 - as above
    running = function, time.monotonic()
    try:
        value = function(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the awaiter gets it
        return _raised(error)
    finally:
        running = None
        _flush()
    del function, args, kwargs
    if share and shared(value):
        return SHARED, value, ()
    try:
        return (VALUE, *pack(outside(value)))
    except BaseException as error:  # noqa: BLE001 - pickling is code of users
        path, part = _errors().culprit(pack, value, "the result")
        return _refuse("cannot be pickled", path, full_name(type(part)), error)


def _raised(error: BaseException) -> Reply:
    """Send an exception as text, for every case, and as an object, if it is one that travels."""
    errors = _errors()
    text = errors.described(full_name, error), errors.traceback_of(full_name, error)
    try:
        pickled: bytes | None = pack_in_band(error)
        why = ""
    except BaseException as reason:  # noqa: BLE001 - pickling is code of users
        pickled, why = None, errors.described(full_name, reason)
    return RAISED, pickle.dumps((*text, pickled, why), 5), ()


def _refuse(reason: str, what: str, type_name: str, error: BaseException) -> Reply:
    if isinstance(error, MemoryError):
        return _raised(error)
    if isinstance(error, MainFailedError):
        reason = "main"
    errors = _errors()
    text = errors.described(full_name, error), errors.traceback_of(full_name, error)
    return REFUSED, pickle.dumps((reason, what, type_name, *text), 5), ()


def _errors() -> Any:
    return _beside("_worker_errors")


def _flush() -> None:
    """Have what a call printed seen when it is over, also if the worker is killed later."""
    for stream in (sys.stdout, sys.stderr):
        try:  # noqa: SIM105 - contextlib would have to be imported
            stream.flush()
        except Exception:  # noqa: BLE001, S110 - None, closed, or a broken pipe
            pass
