"""One measured process of the benchmark of worker processes and interpreters.

usage: process_worker.py API REPETITIONS

API is offloop, executor (ProcessPoolExecutor), pebble, interpreter (offloop) or bare-interpreter
(InterpreterPoolExecutor). One worker, so that the cost of one call is seen. Prints one JSON object
with ``case.figure`` medians.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

SMALL = b"x" * 64
LARGE = 64 * 1024 * 1024
SEQUENTIAL = 1_000
GATHERED = 500

Call = Callable[..., Awaitable[int]]


def offloop_call(place: str) -> Call:
    import offloop

    pool = offloop.Pool("bench", on=place, limit=1, queue=100_000)  # type: ignore[arg-type]
    return pool.run


def executor_call() -> Call:
    from concurrent.futures import ProcessPoolExecutor

    executor = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    loop = asyncio.get_running_loop()
    return lambda fn, *args: loop.run_in_executor(executor, fn, *args)


def pebble_call() -> Call:
    from pebble import ProcessPool

    pool = ProcessPool(1, context=multiprocessing.get_context("spawn"))
    return lambda fn, *args: asyncio.wrap_future(pool.submit(fn, None, *args))


def bare_interpreter_call() -> Call:
    from concurrent.futures import InterpreterPoolExecutor  # type: ignore[attr-defined]

    executor = InterpreterPoolExecutor(1)
    loop = asyncio.get_running_loop()
    return lambda fn, *args: loop.run_in_executor(executor, fn, *args)


APIS: dict[str, Callable[[], Call]] = {
    "offloop": lambda: offloop_call("process"),
    "executor": executor_call,
    "pebble": pebble_call,
    "interpreter": lambda: offloop_call("interpreter"),
    "bare-interpreter": bare_interpreter_call,
}


def cpu_seconds() -> float:
    """What this process has used; its workers are told by the system only when they have ended."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def measured(name: str, repetitions: int) -> dict[str, float]:
    """Measure all cases in turns; gives the medians."""
    began = time.perf_counter()
    call = APIS[name]()
    await call(len, SMALL)
    samples: dict[str, list[float]] = {"first.ms": [(time.perf_counter() - began) * 1e3]}

    def note(figure: str, value: float) -> None:
        samples.setdefault(figure, []).append(value)

    data: Any = bytes(LARGE)
    for _ in range(repetitions):
        began, used = time.perf_counter(), cpu_seconds()
        for _ in range(SEQUENTIAL):
            await call(len, SMALL)
        note("small.us", (time.perf_counter() - began) / SEQUENTIAL * 1e6)
        note("small.cpu_us", (cpu_seconds() - used) / SEQUENTIAL * 1e6)
        began = time.perf_counter()
        await asyncio.gather(*(call(len, SMALL) for _ in range(GATHERED)))
        note("gathered.us", (time.perf_counter() - began) / GATHERED * 1e6)
        began, used = time.perf_counter(), cpu_seconds()
        if await call(len, data) != LARGE:
            message = "a call gave a wrong result"
            raise RuntimeError(message)
        note("large.ms", (time.perf_counter() - began) * 1e3)
        note("large.cpu_ms", (cpu_seconds() - used) * 1e3)
        began = time.perf_counter()
        await call(bytes, LARGE)
        note("result.ms", (time.perf_counter() - began) * 1e3)
    return {figure: statistics.median(values) for figure, values in samples.items()}


if __name__ == "__main__":
    name, repetitions = sys.argv[1:]
    print(json.dumps(asyncio.run(measured(name, int(repetitions)))), flush=True)
