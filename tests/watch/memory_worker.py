"""Fills all that a watch keeps, as a day of the worst kind does, and prints what it takes in bytes.

usage: memory_worker.py FOLDER

Jobs, loops, looks and stalls are real, or as large as real ones can be; what time alone fills, the
pieces of the timelines, is counted as full. Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import resource
import sys
import threading
from pathlib import Path

import offloop
from offloop._watch import helper, look, mend
from offloop._watch.stall import Stall

JOBS = 40_000
POOLS = 70
LOOPS = 40
STALLS = 200
DEEP = [(f"/srv/application/some/package/module_{n}.py", n, f"function_{n}") for n in range(60)]
TIMELINES, PIECES = 32 + 64, 4096
"""Loops and lanes, each with so many numbers of eight bytes at the most."""


def resident():
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


class Record:
    """A stall as the native thread gives it, and as large as it can be."""

    key, began, named, detected, ended, lasted = 1, 0, 1, 1, 2, 10**9
    cause, system_call, holds_gil, culprit, blamed, traced = "python", None, False, None, 0, False
    weight = 3 * 100 * 160

    def __init__(self, number):
        self.number = number
        # What takes the memory is Rust's in earnest.
        self.ballast = bytes(self.weight)

    @property
    def stacks(self):
        return [[(f"/file-{self.number}.py", 1, "function")]]


def seen(number):
    """A look among a hundred threads."""
    return look.Seen(
        identity=1,
        ready=1,
        stack=[(file, line + 1000, name) for file, line, name in DEEP],
        call=mend.Call((), ""),
        task=f"task {number}",
        coroutine="main",
        await_chain=tuple(f"step {number} {step}" * 10 for step in range(60)),
        context={f"variable {name}": "str" for name in range(60)},
        threads={
            n: look.Other(
                f"thread {n}", [(file, line + n * 1000, name) for file, line, name in DEEP], None
            )
            for n in range(100)
        },
    )


async def missing(folder, number):
    """One Job, whose name is as long as a path."""
    try:
        await offloop.read_bytes(folder / ("x" * 60) / str(number))
    except FileNotFoundError:
        pass


async def jobs(folder, count):
    for first in range(0, count, 1_000):
        await asyncio.gather(*(missing(folder, first + number) for number in range(1_000)))


async def pools(count):
    for number in range(count):
        pool = offloop.Pool(f"pool-{number}", limit=1)
        await pool.run(int)
        await pool.aclose()


def loops(count):
    for _ in range(count):
        thread = threading.Thread(target=asyncio.run, args=(asyncio.sleep(0.03),))
        thread.start()
        thread.join()


def stalls(keeper, count):
    for number in range(1, count):
        untold, one = count + number, seen(number)
        keeper.looks.put(untold, one, one.weigh())
        keeper.late.put(untold, one.threads, one.weigh())
        stall = Stall(Record(number), seen(number), loop="l", thread="t", clock=0.0)
        keeper.add(stall)
        keeper.open[number] = stall
        keeper._ended(Record(number))
        keeper.watcher.add_look(1, number, 1, 1, DEEP)
        keeper.watcher.heard(number)
        keeper._warn(stall)


def main():
    logging.getLogger("offloop.watch").propagate = False
    logging.getLogger("offloop.watch").addHandler(logging.NullHandler())
    folder = Path(sys.argv[1])
    # Everything once, so that what is counted is what is kept.
    with offloop.watch(threshold=60) as health:
        asyncio.run(jobs(folder, 2_000))
        asyncio.run(pools(2))
        loops(2)
        stalls(health._helper, 3)
    del health
    before = resident()
    with offloop.watch(threshold=60) as health:
        asyncio.run(jobs(folder, JOBS))
        asyncio.run(pools(POOLS))
        loops(LOOPS)
        stalls(health._helper, STALLS)
        grown = resident() - before
        report = health._watcher.report()
    print(
        json.dumps(
            {
                "resident": grown,
                "timelines": TIMELINES * PIECES * 8,
                "jobs": len(report["jobs"]),
                "lanes": len(report["lanes"]),
                "loops": len(report["loops"]),
                "stalls": len(health.stalls),
                "looks": len(health._helper.looks),
                "kept_bytes": health._helper.weight,
                "bound": helper.BYTES,
            }
        )
    )


if __name__ == "__main__":
    main()
