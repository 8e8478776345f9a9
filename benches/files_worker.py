"""One measured process of the files benchmark: one task, done by one contender, several times.

usage: files_worker.py TASK CONTENDER FOLDER SECONDS

FOLDER is what `section_files` has prepared, and in the page cache. The task is done once unmeasured
and then until SECONDS have passed. Prints one JSON object of medians: `rate` in units/s, `cpu_us`
for each unit, and how late the loop was meanwhile, `lag_ms` at the most.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import io
import json
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import measure

SMALL_FILES, SMALL_BYTES = 2_000, 4 * 1024
LINES = 100_000
LARGE_BYTES = 512 * 1024 * 1024
WRITES, WRITE = 10_000, b"a line of a log, as long as such lines are when they are short...\n"
ENTRIES = 50_000
MOST = 9
"""Repetitions, however short."""

Task = Callable[[Path], Awaitable[int]]


async def small_offloop(folder: Path) -> int:
    import offloop

    paths = [f"{folder}/small/{number}" for number in range(SMALL_FILES)]
    contents = await asyncio.gather(*(offloop.read_bytes(path) for path in paths))
    return sum(map(len, contents)) // SMALL_BYTES


async def _small_opened(opener: Callable[..., Any], folder: Path) -> int:
    async def read(path: str) -> int:
        async with opener(path, "rb") as file:
            return len(await file.read())

    paths = [f"{folder}/small/{number}" for number in range(SMALL_FILES)]
    return sum(await asyncio.gather(*map(read, paths))) // SMALL_BYTES


async def small_blocking(folder: Path) -> int:
    contents = []
    for number in range(SMALL_FILES):
        with io.open(f"{folder}/small/{number}", "rb") as file:  # noqa: UP020 - as below
            contents.append(file.read())
    return sum(map(len, contents)) // SMALL_BYTES


async def _lines_opened(opener: Callable[..., Any], folder: Path) -> int:
    count = 0
    async with opener(f"{folder}/lines", encoding="utf-8") as file:
        async for _ in file:
            count += 1
    return count


async def lines_read_lines(folder: Path) -> int:
    import offloop

    count = 0
    async for _ in offloop.read_lines(f"{folder}/lines", encoding="utf-8"):
        count += 1
    return count


async def lines_blocking(folder: Path) -> int:
    count = 0
    with io.open(f"{folder}/lines", encoding="utf-8") as file:  # noqa: UP020 - as below
        for _ in file:
            count += 1
    return count


async def large_offloop(folder: Path) -> int:
    import offloop

    return len(await offloop.read_bytes(f"{folder}/large")) // LARGE_BYTES


async def _large_opened(opener: Callable[..., Any], folder: Path) -> int:
    async with opener(f"{folder}/large", "rb") as file:
        return len(await file.read()) // LARGE_BYTES


async def large_blocking(folder: Path) -> int:
    with io.open(f"{folder}/large", "rb") as file:  # noqa: UP020 - not the async one
        return len(file.read()) // LARGE_BYTES


async def _writes_opened(opener: Callable[..., Any], folder: Path) -> int:
    async with opener(f"{folder}/written", "wb") as file:
        for _ in range(WRITES):
            await file.write(WRITE)
    return (folder / "written").stat().st_size // len(WRITE)


async def writes_blocking(folder: Path) -> int:
    with io.open(f"{folder}/written", "wb") as file:  # noqa: UP020 - not the async one
        for _ in range(WRITES):  # noqa: FURB122 - each for itself is the task
            file.write(WRITE)
    return (folder / "written").stat().st_size // len(WRITE)


async def walk_offloop(folder: Path) -> int:
    import offloop

    entries = 0
    async for _, folders, files in offloop.walk(f"{folder}/tree"):
        entries += len(folders) + len(files)
    return entries


def _walk(folder: Path) -> int:
    entries = 0
    for _, folders, files in os.walk(f"{folder}/tree"):
        entries += len(folders) + len(files)
    return entries


async def walk_to_thread(folder: Path) -> int:
    return await asyncio.to_thread(_walk, folder)


async def walk_blocking(folder: Path) -> int:
    return _walk(folder)


def opened_by(task: Callable[[Callable[..., Any], Path], Awaitable[int]], package: str) -> Task:
    """Give a task that opens its files with a package's `open`."""
    import importlib

    return lambda folder: task(importlib.import_module(package).open, folder)


def opened(task: Callable[[Callable[..., Any], Path], Awaitable[int]]) -> dict[str, Task]:
    """Give a task for each package that has aiofiles' `open`."""
    packages = {"offloop.open": "offloop.aiofiles", "aiofiles": "aiofiles"}
    return {name: opened_by(task, package) for name, package in packages.items()}


TASKS: dict[str, dict[str, Task]] = {
    "small": {"offloop": small_offloop, "blocking": small_blocking, **opened(_small_opened)},
    "lines": {
        "offloop": lines_read_lines,
        "blocking": lines_blocking,
        **opened(_lines_opened),
    },
    "large": {"offloop": large_offloop, "blocking": large_blocking, **opened(_large_opened)},
    "writes": {"blocking": writes_blocking, **opened(_writes_opened)},
    "walk": {"offloop": walk_offloop, "to_thread": walk_to_thread, "blocking": walk_blocking},
}
UNITS = {
    "small": SMALL_FILES,
    "lines": LINES,
    "large": 1,
    "writes": WRITES,
    "walk": ENTRIES,
}


def prepare(folder: Path) -> None:
    """Make the files of all tasks; by their making they are in the page cache."""
    (folder / "small").mkdir()
    for number in range(SMALL_FILES):
        content = hashlib.shake_128(b"%d" % number).digest(SMALL_BYTES)
        (folder / "small" / str(number)).write_bytes(content)
    line = "{:06d} a line of a log, as long as such lines are in the middle of things\n"
    (folder / "lines").write_text("".join(map(line.format, range(LINES))))
    with (folder / "large").open("wb") as file:
        for number in range(LARGE_BYTES >> 20):
            file.write(hashlib.shake_128(b"%d" % number).digest(1024) * 1024)
    # 50,000 names: 1,000 folders of 49 files each.
    for number in range(ENTRIES // 50):
        inner = folder / "tree" / f"{number // 100:02d}" / f"{number:04d}"
        inner.mkdir(parents=True)
        for name in range(49):
            (inner / f"file-{name:02d}.txt").touch()


async def measured(task: str, contender: str, folder: Path, seconds: float) -> dict[str, float]:
    """Do the task again and again; gives the medians."""
    work, units = TASKS[task][contender], UNITS[task]
    rates: list[float] = []
    cpus: list[float] = []
    lags: list[float] = []
    # The tree has the ten folders of its first level on top.
    expected = units + 10 if task == "walk" else units
    if await work(folder) != expected:
        raise RuntimeError("the task was not done")
    until = time.perf_counter() + seconds
    while not rates or (time.perf_counter() < until and len(rates) < MOST):
        gc.collect()
        meter = measure.LagMeter()
        beat = asyncio.ensure_future(meter.run())
        await asyncio.sleep(0)
        with measure.Stopwatch() as watch:
            done = await work(folder)
        await asyncio.sleep(measure.LagMeter.PERIOD * 2)  # the last delay is noted, too
        beat.cancel()
        if done != expected:
            raise RuntimeError("the task was not done")
        rates.append(units / watch.wall)
        cpus.append(watch.cpu / units * 1e6)
        lags.append(max(meter.delays))
    median = statistics.median
    return {"rate": median(rates), "cpu_us": median(cpus), "lag_ms": median(lags)}


async def main(task: str, contender: str, folder: str, seconds: str) -> None:
    """Measure one contender and print its figures."""
    figures = await measured(task, contender, Path(folder), float(seconds))
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
