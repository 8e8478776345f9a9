"""A place of processes without a pool around it, and how tests ask for calls."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

from offloop.pools._base import Call, Plan, SubmittedCall
from offloop.pools.process import ProcessPlace

_OWN = ("initializer", "initargs", "idle")
LIMIT = 10.0
"""Seconds to wait for anything."""


@contextlib.contextmanager
def processes(limit: int = 2, **options: Any) -> Iterator[ProcessPlace]:
    """A place that leaves no process behind."""
    known = {
        name: options.pop(name) for name in ("initializer", "initargs", "idle") if name in options
    }
    place = ProcessPlace(Plan("test", limit, options=options, **known))
    try:
        yield place
    finally:
        pids = place.pids()
        place.close()
        place.kill()
        wait_until(lambda: not any(map(exists, pids)))


def start(place: ProcessPlace, fn: Any, *args: Any, **kwargs: Any) -> tuple[Call, Future[Any]]:
    future: Future[Any] = Future()
    call = SubmittedCall(future, fn, args, kwargs, lambda call, how: None)
    place.start(call)
    return call, future


def submit(place: ProcessPlace, fn: Any, *args: Any, **kwargs: Any) -> Future[Any]:
    return start(place, fn, *args, **kwargs)[1]


def call(place: ProcessPlace, fn: Any, *args: Any, **kwargs: Any) -> Any:
    return submit(place, fn, *args, **kwargs).result(LIMIT)


def wait_until(condition: Any, seconds: float = LIMIT) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.005)


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:  # a zombie that somebody else has to reap is gone as well
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def told(path: Any) -> int:
    """The number that a job writes into a file."""
    wait_until(lambda: path.exists() and path.read_text())
    return int(path.read_text())
