"""One measured process of the bridge benchmark: Jobs that do nothing against bare futures.

usage: bridge_worker.py speed LOOP CORE|- ALTERNATIONS
       bridge_worker.py memory offloop|future|task LOOP CORE|-

LOOP is asyncio or uvloop. `speed` alternates both sides within the process and prints the
median of each figure; `memory` wants a fresh process for each side. Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import measure
from offloop import _offloop

GATHERED = 1_000
IN_FLIGHT = 10_000
PAUSE = 0.001

Side = Callable[[int], Awaitable[None]]


def ready_future() -> asyncio.Future[None]:
    """The least that asyncio can wait for: a future whose result the next turn sets."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    loop.call_soon(future.set_result, None)
    return future


async def sequential_jobs(times: int) -> None:
    """Await Jobs, each over as soon as tokio sees it, one after another."""
    for _ in range(times):
        await _offloop.sleep()


async def sequential_futures(times: int) -> None:
    """Await bare futures one after another."""
    for _ in range(times):
        await ready_future()


async def gathered_jobs(times: int) -> None:
    """Gather 1,000 Jobs that are over as soon as tokio sees them."""
    for _ in range(times // GATHERED):
        await asyncio.gather(*(_offloop.sleep() for _ in range(GATHERED)))


async def gathered_futures(times: int) -> None:
    """Gather 1,000 bare futures."""
    for _ in range(times // GATHERED):
        await asyncio.gather(*(ready_future() for _ in range(GATHERED)))


async def sleeping_jobs(times: int) -> None:
    """Gather 1,000 Jobs that sleep for 1 ms by tokio's clock."""
    for _ in range(times // GATHERED):
        await asyncio.gather(*(_offloop.sleep(PAUSE) for _ in range(GATHERED)))


async def sleeping_tasks(times: int) -> None:
    """Gather 1,000 sleeps of asyncio's; gather makes each a Task."""
    for _ in range(times // GATHERED):
        await asyncio.gather(*(asyncio.sleep(PAUSE) for _ in range(GATHERED)))


# How many operations one measurement has, and what does them on either side.
CASES: dict[str, tuple[int, dict[str, Side]]] = {
    "sequential": (10_000, {"offloop": sequential_jobs, "asyncio": sequential_futures}),
    "gather": (20_000, {"offloop": gathered_jobs, "asyncio": gathered_futures}),
    "sleep": (5_000, {"offloop": sleeping_jobs, "asyncio": sleeping_tasks}),
}


async def speed(alternations: int) -> dict[str, float]:
    """Measure every case on both sides, in turns; gives ``case.side.figure`` medians."""
    samples: dict[str, list[float]] = {}
    for case, (times, sides) in CASES.items():
        for run in sides.values():
            await run(GATHERED)
        for _ in range(alternations):
            for side, run in sides.items():
                gc.collect()
                with measure.Stopwatch() as watch:
                    await run(times)
                figures = {
                    "rate": times / watch.wall,
                    "cpu_us": watch.cpu / times * 1e6,
                    "wall_ms": watch.wall / times * GATHERED * 1000,
                }
                for figure, value in figures.items():
                    samples.setdefault(f"{case}.{side}.{figure}", []).append(value)
    return {name: statistics.median(values) for name, values in samples.items()}


def waiters(side: str) -> list[Any]:
    """10,000 awaitables that will not be over for a minute."""
    if side == "offloop":
        return [_offloop.sleep(60) for _ in range(IN_FLIGHT)]
    if side == "task":
        return [asyncio.sleep(60) for _ in range(IN_FLIGHT)]
    loop = asyncio.get_running_loop()
    return [loop.create_future() for _ in range(IN_FLIGHT)]


async def memory(side: str) -> dict[str, float]:
    """Give the growth of the resident size per operation in flight, in bytes.

    Nothing is cancelled: what is still in flight goes with the loop.
    """
    await sequential_jobs(10)
    gc.collect()
    before = measure.resident_bytes()
    waiting = asyncio.gather(*waiters(side))
    await asyncio.sleep(0.2)  # for the runtime's thread to take them all
    grown = measure.resident_bytes() - before
    if waiting.done():
        message = "the operations were over too early"
        raise RuntimeError(message)
    return {"bytes": grown / IN_FLIGHT}


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Give what makes the event loop; None for asyncio's own."""
    if name == "asyncio":
        return None
    import uvloop

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def main(mode: str, *arguments: str) -> None:
    """Run one mode and print its figures."""
    if mode == "speed":
        loop, core, alternations = arguments
        work = speed(int(alternations))
    else:
        side, loop, core = arguments
        work = memory(side)
    measure.pin(None if core == "-" else int(core))
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        figures = runner.run(work)
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
