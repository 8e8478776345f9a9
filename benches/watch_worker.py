"""One measured process of the watchdog's benchmark: what it costs those it watches.

usage: watch_worker.py fetch URL CORE|- ALTERNATIONS SECONDS
       watch_worker.py idle CORE|- SECONDS
       watch_worker.py detection sleep|native BLOCKS
       watch_worker.py control SECONDS

`fetch` sends requests, 50 at once, with and without a watch in turns, and prints the CPU of a
request, all threads of the process together. `idle` lets a loop sleep under a watch, and prints how
often its thread was woken and what the watchdog used. `detection` blocks a loop again and again, by
`time.sleep` or by a call in C that keeps the GIL, and prints how long after the threshold that was
found. Meanwhile `control`, a process of its own, sleeps as long as the threshold again and again:
how late it wakes is what the machine does to anybody. Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import measure
import offloop

AT_ONCE = 50
CHUNK = 500
THRESHOLD = 0.1
BLOCK = 0.2


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


def control(seconds: float) -> dict[str, float]:
    """Sleep as long as the threshold, and note how much later that was over."""
    late = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        time.sleep(THRESHOLD)
        late.append((time.monotonic() - began - THRESHOLD) * 1e3)
    return {"median_ms": statistics.median(late), "longest_ms": max(late)}


def waited(thread: int) -> float:
    """Give how long a thread of this process has waited for a processor, in ms (Linux)."""
    text = Path(f"/proc/self/task/{thread}/schedstat").read_text(encoding="ascii")
    return int(text.split()[1]) / 1e6


def watchers_thread() -> int:
    """Find the watchdog's native thread (Linux)."""
    for task in Path("/proc/self/task").iterdir():
        if (task / "comm").read_text(encoding="ascii").strip() == "offloop-watch":
            return int(task.name)
    raise RuntimeError("there is no watchdog")


def wait_with_gil(seconds: float) -> None:
    """Wait in C with the GIL, and without a processor: waits for one do not count as blocked.

    A condition that nobody signals: unlike a sleep in C, it goes on after the watchdog's signal.
    """
    calls = ctypes.PyDLL(None)  # a PyDLL keeps the GIL
    condition, mutex = ctypes.create_string_buffer(64), ctypes.create_string_buffer(64)
    until = divmod(int((time.time() + seconds) * 1e9), 10**9)
    calls.pthread_mutex_lock(mutex)
    calls.pthread_cond_timedwait(condition, mutex, (ctypes.c_long * 2)(*until))
    calls.pthread_mutex_unlock(mutex)


async def detection(kind: str, blocks: int) -> dict[str, float]:
    """Block the loop; the latency counts from the block's own beginning, by the same clock."""
    origin = time.time() - time.monotonic()  # what `Stall.began` is told by
    past: list[float] = []
    own: list[float] = []
    missed = 0
    with offloop.watch(THRESHOLD) as health:
        await asyncio.sleep(0.2)
        watcher = watchers_thread()
        for number in range(blocks):
            await asyncio.sleep(0.05 + number % 10 / 1000)  # at any moment of the watchdog's step
            seen, before, began = len(health.stalls), waited(watcher), time.monotonic()
            if kind == "native":
                wait_with_gil(BLOCK)
            else:
                time.sleep(BLOCK)
            starved = waited(watcher) - before
            await asyncio.sleep(0.1)
            stalls = health.stalls[seen:]
            if not stalls:
                missed += 1
                continue
            found = stalls[0].began - origin + stalls[0].detected_after
            late = (found - began - THRESHOLD) * 1e3
            past.append(late)
            own.append(late - starved)
    return {
        "median_ms": statistics.median(past),
        "longest_ms": max(past),
        "longest_without_waits_ms": max(own),
        "missed": missed,
    }


def detected_beside_control(kind: str, blocks: int) -> dict[str, float]:
    """Run both at once."""
    seconds = str(blocks * (BLOCK + 0.16))
    command = [sys.executable, __file__, "control", seconds]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        figures = asyncio.run(detection(kind, blocks))
        printed, _ = process.communicate()
    compared = json.loads(printed)
    return figures | {f"control.{name}": value for name, value in compared.items()}


def main() -> None:
    """Measure what the command line asks for."""
    kind, *rest = sys.argv[1:]
    if kind == "fetch":
        url, core, alternations, seconds = rest
        measure.pin(None if core == "-" else int(core))
        figures = asyncio.run(fetch(url, int(alternations), float(seconds)))
    elif kind == "control":
        figures = control(float(rest[0]))
    elif kind == "detection":
        figures = detected_beside_control(rest[0], int(rest[1]))
    else:
        core, seconds = rest
        measure.pin(None if core == "-" else int(core))
        figures = asyncio.run(idle(float(seconds)))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
