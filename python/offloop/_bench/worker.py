"""One measured process of ``offloop bench``.

usage: python -m offloop._bench.worker CASE CONTENDER SECONDS URL

Prints one JSON object: how many operations there were in how many seconds, and the CPU seconds of
the whole process, Rust's threads included.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from offloop._bench.contest import CASES

WARM_UP = 0.2
"""The part of the time that goes before, so that connections stand and code is warm."""


async def measure(case: str, contender: str, seconds: float, url: str) -> dict[str, float]:
    """Do the work again and again for so many seconds."""
    contest = CASES[case]
    with tempfile.TemporaryDirectory(prefix="offloop-bench-") as folder:
        async with contest.contenders[contender](url, Path(folder)) as work:
            warm = time.perf_counter() + seconds * WARM_UP
            await work()
            while time.perf_counter() < warm:
                await work()
            rounds, cpu, began = 0, time.process_time(), time.perf_counter()
            end = began + seconds * (1 - WARM_UP)
            while rounds == 0 or time.perf_counter() < end:
                await work()
                rounds += 1
            wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    return {"operations": rounds * contest.operations, "wall": wall, "cpu": cpu}


if __name__ == "__main__":
    case, contender, seconds, url = sys.argv[1:]
    print(json.dumps(asyncio.run(measure(case, contender, float(seconds), url))))
