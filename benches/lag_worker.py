"""One measured process of the benchmark `lag`: how late a loop is beside threads that compute.

usage: lag_worker.py API THREADS SECONDS

API is offloop, keep (offloop with the interpreter's switch interval left alone) or to_thread. So
many threads count in Python; from the second second on the loop's lag is measured. Prints one JSON
object: milliseconds, and how many millions all threads together counted per second.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import sys
import threading
import time
import warnings
from collections.abc import Awaitable, Callable

import measure

WARM_UP = 1.0
"""Seconds before the lag is measured: offloop looks for threads that compute every 25 ms."""
STEP = 1000
"""Numbers counted between two looks at the flag."""


def count(total: list[int], stop: threading.Event) -> None:
    """Count in Python until told to stop."""
    while not stop.is_set():
        number = 0
        for _ in range(STEP):
            number += 1
        total[0] += number


async def main(api: str, threads: int, seconds: float) -> None:
    """Measure the lag and print it."""
    start: Callable[..., Awaitable[object]] = asyncio.to_thread
    if api != "to_thread":
        import offloop

        start = offloop.run
    stop, totals = threading.Event(), [[0] for _ in range(threads)]
    calls = asyncio.gather(*(start(count, total, stop) for total in totals))
    await asyncio.sleep(WARM_UP)
    lag, before, began = measure.LagMeter(), sum(total[0] for total in totals), time.perf_counter()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await lag.run()
    counted = sum(total[0] for total in totals) - before
    took = time.perf_counter() - began
    stop.set()
    await calls
    figures = {
        "p50_ms": statistics.median(lag.delays),
        "p90_ms": lag.percentile(90),
        "p99_ms": lag.percentile(99),
        "longest_ms": max(lag.delays),
        "counted": counted / took / 1e6,
    }
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    api, threads, seconds = sys.argv[1:]
    if api == "keep":
        os.environ["OFFLOOP_SWITCH_INTERVAL"] = "keep"
    warnings.simplefilter("ignore")  # offloop says that these calls belong elsewhere
    asyncio.run(main(api, int(threads), float(seconds)))
