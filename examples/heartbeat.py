"""Show what a blocking call does to everything else on the event loop, and what mends it.

usage: python heartbeat.py
"""

import asyncio
import itertools
import time

import offloop


async def beat(ticks: list[float]) -> None:
    """Note the time every 10 ms, as far as the loop lets it."""
    while True:
        ticks.append(time.perf_counter())
        await asyncio.sleep(0.01)


async def main() -> None:
    """Sleep for half a second on the loop, then in a worker thread; compare the heartbeats."""
    ticks: list[float] = []
    heart = asyncio.create_task(beat(ticks))

    await asyncio.sleep(0.1)
    time.sleep(0.5)  # noqa: ASYNC251 - the mistake that is shown here
    await asyncio.sleep(0.1)
    report("time.sleep(0.5) on the loop", ticks)

    ticks.clear()
    await asyncio.sleep(0.1)
    await offloop.run(time.sleep, 0.5)
    await asyncio.sleep(0.1)
    report("offloop.run(time.sleep, 0.5)", ticks)

    heart.cancel()


def report(title: str, ticks: list[float]) -> None:
    """Print how often the heart beat, and how long it stood still at most."""
    gap = max(after - before for before, after in itertools.pairwise(ticks))
    print(f"{title:29} {len(ticks):3} beats, longest gap {gap * 1000:4.0f} ms")


if __name__ == "__main__":
    asyncio.run(main())
