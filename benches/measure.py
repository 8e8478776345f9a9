"""What every measured process does alike: pinning, clocks, loop lag, memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import statistics
import threading
import time
from collections.abc import Iterator


def pin(core: int | None) -> None:
    """Pin the calling thread, and those it will start, to one core (Linux; else nothing)."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def peak_rss_mib() -> float:
    """Largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class LagMeter:
    """How late the loop is: wakes every 5 ms and notes the delay in milliseconds."""

    PERIOD = 0.005

    def __init__(self) -> None:
        self.delays: list[float] = []

    async def run(self) -> None:
        while True:
            due = time.perf_counter() + self.PERIOD
            await asyncio.sleep(self.PERIOD)
            self.delays.append((time.perf_counter() - due) * 1000)

    def percentile(self, percent: int) -> float:
        if len(self.delays) < 2:
            return 0.0
        return statistics.quantiles(self.delays, n=100, method="inclusive")[percent - 1]


class Spinner:
    """A thread that does nothing but hold the GIL as often as it gets it."""

    def __init__(self, core: int | None) -> None:
        self.core = core
        self.stop = False
        self.thread = threading.Thread(target=self._spin, daemon=True)
        self.cpu = 0.0

    def _spin(self) -> None:
        pin(self.core)
        while not self.stop:
            for _ in range(1000):
                pass

    @contextlib.contextmanager
    def spinning(self) -> Iterator[Spinner]:
        self.thread.start()
        clock = time.pthread_getcpuclockid(self.thread.ident or 0)
        before = time.clock_gettime(clock)
        try:
            yield self
        finally:
            self.cpu = time.clock_gettime(clock) - before
            self.stop = True
            self.thread.join()
