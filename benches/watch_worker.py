"""One measured process of the watchdog's benchmark: what it costs those it watches.

usage: watch_worker.py fetch URL CORE|- ALTERNATIONS SECONDS
       watch_worker.py idle CORE|- SECONDS

`fetch` sends requests, 50 at once, with and without a watch in turns, and prints the CPU of a
request, all threads of the process together. `idle` lets a loop sleep under a watch, and prints how
often its thread was woken and what the watchdog used. Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import sys
import threading
import time
from pathlib import Path

import measure
import offloop

AT_ONCE = 50
CHUNK = 500


async def requests(client: offloop.Client, url: str, seconds: float) -> tuple[float, float]:
    """Give the CPU of one request in µs, and requests per second."""
    count = 0
    began, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        for _ in range(CHUNK // AT_ONCE):
            await asyncio.gather(*(client.get(url) for _ in range(AT_ONCE)))
        count += CHUNK
    return (time.process_time() - cpu) / count * 1e6, count / (time.perf_counter() - began)


async def fetch(url: str, alternations: int, seconds: float) -> dict[str, float]:
    """Alternate; which side begins changes each time. Ratios are of neighbours."""
    taken: dict[str, list[float]] = {"off": [], "on": []}
    rates: dict[str, list[float]] = {"off": [], "on": []}
    async with offloop.Client() as client:
        await requests(client, url, seconds)
        for number in range(alternations):
            order = ("off", "on") if number % 2 else ("on", "off")
            for side in order:
                watching = offloop.watch() if side == "on" else contextlib.nullcontext()
                with watching:
                    cpu, rate = await requests(client, url, seconds)
                taken[side].append(cpu)
                rates[side].append(rate)
    ratios = [on / off for on, off in zip(taken["on"], taken["off"], strict=True)]
    return {
        "off.cpu_us": statistics.median(taken["off"]),
        "on.cpu_us": statistics.median(taken["on"]),
        "off.rate": statistics.median(rates["off"]),
        "on.rate": statistics.median(rates["on"]),
        "ratio": statistics.median(ratios),
    }


def switches(thread: int) -> int:
    """Count how often a thread gave the processor up, and was given it again (Linux)."""
    status = Path(f"/proc/self/task/{thread}/status").read_text(encoding="ascii")
    lines = [line for line in status.splitlines() if "ctxt_switches" in line]
    return sum(int(line.split()[1]) for line in lines)


async def idle(seconds: float) -> dict[str, float]:
    """Sleep once without and once with a watch."""
    own = threading.get_native_id()
    figures: dict[str, float] = {}
    for side in ("off", "on"):
        watching = offloop.watch() if side == "on" else contextlib.nullcontext()
        with watching:
            await asyncio.sleep(0.5)
            before, cpu = switches(own), time.process_time()
            await asyncio.sleep(seconds)
            figures[f"{side}.switches"] = switches(own) - before
            figures[f"{side}.cpu_share"] = (time.process_time() - cpu) / seconds
    return figures


def main() -> None:
    """Measure what the command line asks for."""
    kind, *rest = sys.argv[1:]
    if kind == "fetch":
        url, core, alternations, seconds = rest
        measure.pin(None if core == "-" else int(core))
        figures = asyncio.run(fetch(url, int(alternations), float(seconds)))
    else:
        core, seconds = rest
        measure.pin(None if core == "-" else int(core))
        figures = asyncio.run(idle(float(seconds)))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
