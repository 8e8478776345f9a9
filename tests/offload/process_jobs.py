"""What the tests have worker processes do. Light to import: workers import it by its name."""

from __future__ import annotations

import contextvars
import os
import signal
import subprocess
import sys
import time
from typing import Any

_count = contextvars.ContextVar("_count", default=0)


def echo(value: Any) -> Any:
    return value


def set_event(event: Any) -> None:
    event.set()


def authkey() -> bytes:
    import multiprocessing

    return bytes(multiprocessing.current_process().authkey)


def is_imported(name: str) -> bool:
    return name in sys.modules


def wait_for_more(path: str) -> int:
    """Tell the own pid in a file, and wait until it holds more than that."""
    own = str(os.getpid())
    with open(path, "w") as file:
        file.write(own)
    while os.path.getsize(path) <= len(own):
        time.sleep(0.005)
    return os.getpid()


def describe(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
    return args, kwargs


def die(number: int = signal.SIGKILL) -> None:
    os.kill(os.getpid(), number)
    time.sleep(30)


def pid_after(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def echo_after(value: Any, seconds: float) -> Any:
    time.sleep(seconds)
    return value


def meet(folder: str, number: int, count: int) -> bool:
    """Wait until so many calls are here at once."""
    with open(os.path.join(folder, str(number)), "w"):
        pass
    end = time.monotonic() + 8
    while len(os.listdir(folder)) < count:
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def touch_and_sleep(path: str, seconds: float) -> None:
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(seconds)


def stubborn(path: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    touch_and_sleep(path, 60)


def print_much(count: int) -> int:
    sys.stdout.write("x" * count)
    os.write(1, b"y" * count)
    sys.stderr.write("z" * count)
    return count


def close_everything() -> str:
    os.closerange(3, 64)
    return "done"


def scribble() -> None:
    """Write what is no frame into every socket there is."""
    for fd in range(3, 64):
        try:
            os.write(fd, b"\xff" * 100)
        except OSError:
            continue
    time.sleep(30)


def recurse(depth: int = 0) -> int:
    return recurse(depth + 1)


def allocate(size: int) -> int:
    return len(bytearray(size))


def fork_and_return() -> int:
    """The child goes the way a careless one goes: it returns from the function."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    return pid


def leave_grandchild() -> int:
    """A process that outlives this worker and holds what it inherited."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
    return child.pid


def fork_grandchild_and_die(path: str) -> None:
    pid = os.fork()
    if pid == 0:
        time.sleep(20)
        os._exit(0)
    with open(path, "w") as file:
        file.write(str(pid))
    os.kill(os.getpid(), signal.SIGKILL)


def raise_stop_iteration() -> None:
    raise StopIteration(7)


def raise_with_notes() -> None:
    try:
        raise KeyError("inner")
    except KeyError as inner:
        error = ValueError("outer")
        error.add_note("a note of the user's")
        raise error from inner


def leave(code: Any) -> None:
    sys.exit(code)


def interrupt() -> None:
    raise KeyboardInterrupt


state: list[int] = []


def initialize(value: int) -> None:
    state.append(value)


def initialize_badly() -> None:
    raise RuntimeError("no database")


def read_state() -> list[int]:
    return state


def modules() -> list[str]:
    return sorted(sys.modules)


def signal_names() -> tuple[bool, bool]:
    """Whether SIGINT is survived, and whether it is ignored in children."""
    os.kill(os.getpid(), signal.SIGINT)
    return True, signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def process_in_process() -> int:
    import asyncio

    import offloop

    async def main() -> int:
        return await offloop.to_process(os.getppid)

    return asyncio.run(main())


# Things that do not travel, or not as they should.


class Local:
    """Its parts can be given anything."""

    def __init__(self, **parts: Any) -> None:
        self.__dict__.update(parts)


class TwoArguments(Exception):
    """Pickles, but cannot be unpickled: the classic (bpo-1692335)."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one}{two}")


class KeywordOnly(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__("keyword")
        self.code = code


class HoldsLock(Exception):
    def __init__(self, *args: Any) -> None:
        import threading

        super().__init__(*args)
        self.lock = threading.Lock()


class ReduceRaises(Exception):
    def __reduce__(self) -> Any:
        raise RuntimeError("not me")


class ReduceExits(Exception):
    def __reduce__(self) -> Any:
        return sys.exit, (3,)


class ReduceToText(Exception):
    def __reduce__(self) -> Any:
        return str, ("not an exception",)


class ReduceInterrupts(Exception):
    def __reduce__(self) -> Any:
        return _interrupt_parent, ()


def _interrupt_parent() -> None:
    raise KeyboardInterrupt


class StateRaises(Exception):
    def __reduce__(self) -> Any:
        return type(self), (), {"x": 1}

    def __setstate__(self, state: Any) -> None:
        raise RuntimeError("no state for me")


class StrRaises(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class ReadOnly(Exception):
    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(name)

    def add_note(self, note: str) -> None:
        raise AttributeError(note)


class NamelessModule(Exception):
    __module__ = "no.such.module"


class OddState(ValueError):
    def __getstate__(self) -> Any:
        raise ZeroDivisionError


class ReduceAborts(Exception):
    """What kills the worker while it pickles."""

    def __reduce__(self) -> Any:
        if os.environ.get("OFFLOOP_TEST_PARENT") != str(os.getpid()):
            os.abort()
        return Exception, ()


def _deep() -> Exception:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    return ValueError(nested)


def _inside() -> type[Exception]:
    class Inside(Exception):
        pass

    return Inside


NASTY: dict[str, Any] = {
    "two arguments": lambda: TwoArguments("a", "b"),
    "keyword only": lambda: KeywordOnly(code=1),
    "holds a lock": lambda: HoldsLock("x"),
    "reduce raises": ReduceRaises,
    "reduce exits": ReduceExits,
    "reduce to text": ReduceToText,
    "reduce interrupts": ReduceInterrupts,
    "state raises": StateRaises,
    "str raises": StrRaises,
    "read only": ReadOnly,
    "no such module": NamelessModule,
    "odd state": OddState,
    "deep": _deep,
    "local class": lambda: _inside()("x"),
    "lambda": lambda: ValueError(lambda: 1),
    "generator": lambda: ValueError(x for x in ()),
    "frame": lambda: ValueError(sys._getframe()),
    "module": lambda: ValueError(sys),
    "file": lambda: ValueError(sys.stderr),
    "huge": lambda: ValueError("x" * 1_000_000),
    "surrogates": lambda: ValueError("\ud800"),
    "group": lambda: ExceptionGroup("g", [TwoArguments("a", "b"), ValueError(1)]),
}


def return_lock() -> Any:
    import threading

    return {"lock": [threading.Lock()]}


def raise_nasty(name: str) -> None:
    error: Exception = NASTY[name]()
    raise error


def return_nasty(name: str) -> Any:
    return NASTY[name]()


class Tally:
    """Its method is a function with a state."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, value: int) -> int:
        self.total += value
        return self.total


def scale(factors: dict[str, int], value: int) -> int:
    return factors["factor"] * value


def count_in_context() -> int:
    """Count the calls that share a context."""
    _count.set(_count.get() + 1)
    return _count.get()
