"""What the matrix calls in threads, processes and interpreters; needs nothing but stdlib."""

from __future__ import annotations

import contextvars
import os
import sys
import threading
import time
from typing import Any

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")


class OwnError(Exception):
    """With a constructor that pickle does not know how to call."""

    def __init__(self, code: int, *, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


class PlainError(Exception): ...


class Unloadable:
    def __reduce__(self) -> Any:
        return (_refuse_to_load, ())


def _refuse_to_load() -> None:
    raise PlainError("it does not come back")


class Unpicklable:
    def __init__(self) -> None:
        self.lock = threading.Lock()


class UnpicklableError(Exception):
    def __init__(self) -> None:
        super().__init__("has a lock")
        self.lock = threading.Lock()


def echo(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


def same(value: Any) -> Any:
    return value


def fail(kind: type[BaseException], *args: Any) -> None:
    raise kind(*args)


def fail_noted() -> None:
    error = PlainError("noted")
    error.add_note("a note of mine")
    raise error


def fail_chained() -> None:
    try:
        raise KeyError("first")
    except KeyError as error:
        raise PlainError("second") from error


def fail_group() -> None:
    raise ExceptionGroup("several", [PlainError("a"), ValueError("b")])


def fail_own() -> None:
    raise OwnError(7, text="mine")


def fail_unpicklable() -> None:
    raise UnpicklableError


def give_unpicklable() -> Any:
    return Unpicklable()


def give_unloadable() -> Any:
    return Unloadable()


def recurse(depth: int = 0) -> int:
    return recurse(depth + 1) + 1


def nested_list(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def read_variable() -> str:
    value = variable.get()
    variable.set("changed by the call")
    return value


def sleep(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"


def touch_and_sleep(path: str, seconds: float) -> str:
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(seconds)
    return "slept"


def ask_until_cancelled(path: str, seconds: float) -> str:
    import offloop

    end = time.monotonic() + seconds
    with open(path, "w") as file:
        file.write("begun")
    while time.monotonic() < end:
        offloop.check_cancelled()
        time.sleep(0.005)
    return "never asked to stop"


def current() -> Any:
    import offloop

    job = offloop.current_job()
    return None if job is None else (job.name, job.pool, job.where, job.cancelled)


def leave(code: int) -> None:
    os._exit(code)


def print_much() -> int:
    sys.stdout.write("x" * 100_000)
    return 100_000


def pid() -> int:
    return os.getpid()
