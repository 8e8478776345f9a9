"""One measured process of the offload benchmark: a trivial function, called in a thread.

usage: offload_worker.py API CORE|- REPETITIONS

API is offloop, to_thread, executor or anyio; future and hop are no APIs, but what they stand on.
With a core the loop and all worker threads share it; with - the system places them. Prints one
JSON object with ``case.figure`` medians.
"""

from __future__ import annotations

import asyncio
import gc
import json
import queue
import statistics
import sys
import threading
from collections.abc import Awaitable, Callable

import measure

GATHERED = 1_000
SEQUENTIAL = 2_000
BURSTS = 5

Call = Callable[[], Awaitable[int]]


def trivial() -> int:
    """The offloaded function: all that remains is the cost of offloading."""
    return 1


def offloop_call() -> Call:
    import offloop

    return lambda: offloop.run(trivial)


def to_thread_call() -> Call:
    return lambda: asyncio.to_thread(trivial)


def executor_call() -> Call:
    loop = asyncio.get_running_loop()
    return lambda: loop.run_in_executor(None, trivial)


def anyio_call() -> Call:
    from anyio import to_thread

    return lambda: to_thread.run_sync(trivial)


def bare_future() -> Call:
    """No thread at all: the loop itself sets the result. What a gather costs whoever is asked."""
    loop = asyncio.get_running_loop()

    def call() -> asyncio.Future[int]:
        future: asyncio.Future[int] = loop.create_future()
        loop.call_soon(future.set_result, 1)
        return future

    return call


def bare_hop() -> Call:
    """One thread and a queue of the standard library: the way there and back, and nothing else."""
    loop = asyncio.get_running_loop()
    calls: queue.SimpleQueue[asyncio.Future[int]] = queue.SimpleQueue()

    def work() -> None:
        while True:
            future = calls.get()
            loop.call_soon_threadsafe(future.set_result, trivial())

    threading.Thread(target=work, daemon=True).start()

    def call() -> asyncio.Future[int]:
        future: asyncio.Future[int] = loop.create_future()
        calls.put(future)
        return future

    return call


APIS = {
    "offloop": offloop_call,
    "to_thread": to_thread_call,
    "executor": executor_call,
    "anyio": anyio_call,
    "future": bare_future,
    "hop": bare_hop,
}


async def gathered(call: Call) -> int:
    """Gather 1,000 calls, several times; gives how many calls were made."""
    for _ in range(BURSTS):
        results = await asyncio.gather(*(call() for _ in range(GATHERED)))
        if sum(results) != GATHERED:
            message = "a call gave a wrong result"
            raise RuntimeError(message)
    return BURSTS * GATHERED


async def sequential(call: Call) -> int:
    """Await calls one after another; gives how many were made."""
    for _ in range(SEQUENTIAL):
        await call()
    return SEQUENTIAL


async def measured(name: str, repetitions: int) -> dict[str, float]:
    """Measure both cases in turns; gives the medians."""
    call = APIS[name]()
    await asyncio.gather(*(call() for _ in range(GATHERED)))
    samples: dict[str, list[float]] = {}
    for _ in range(repetitions):
        for case in (gathered, sequential):
            gc.collect()
            with measure.Stopwatch() as watch:
                calls = await case(call)
            samples.setdefault(f"{case.__name__}.rate", []).append(calls / watch.wall)
            samples.setdefault(f"{case.__name__}.cpu_us", []).append(watch.cpu / calls * 1e6)
    return {figure: statistics.median(values) for figure, values in samples.items()}


async def main(name: str, repetitions: int) -> None:
    """Measure one API and print its figures."""
    print(json.dumps(await measured(name, repetitions)), flush=True)


if __name__ == "__main__":
    name, core, repetitions = sys.argv[1:]
    measure.pin(None if core == "-" else int(core))
    asyncio.run(main(name, int(repetitions)))
