"""What every measured process does alike: pinning, clocks, loop lag, memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self


def pin(core: int | None) -> None:
    """Pin the calling thread, and those it will start, to one core (Linux; else nothing)."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def peak_rss_mib(process: int | str = "self") -> float:
    """Give the largest resident size of a process so far; 0.0 when it has ended.

    It asks /proc where there is one: `ru_maxrss` is handed down through fork and exec, so that
    it is never less than what the parent had.
    """
    status = Path(f"/proc/{process}/status")
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            for line in status.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
        return 0.0
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def resident_bytes() -> int:
    """Give the resident size of this process now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def connections(port: int) -> int:
    """Give the number of open TCP connections over IPv4 to a port of this machine (Linux)."""
    wanted, opened = f":{port:04X}", "01"  # include/net/tcp_states.h
    rows = (line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:])
    return sum(1 for row in rows if row[2].endswith(wanted) and row[3] == opened)


class Stopwatch:
    """Wall time of a ``with`` block, and the CPU time of all threads but the spinner in it."""

    wall = 0.0
    cpu = 0.0

    def __init__(self, spinner: Spinner | None = None) -> None:
        self.spinner = spinner

    def _cpu(self) -> float:
        return time.process_time() - (self.spinner.cpu() if self.spinner else 0.0)

    def __enter__(self) -> Self:
        self._cpu_before, self._began = self._cpu(), time.perf_counter()
        return self

    def __exit__(self, *exception: object) -> None:
        self.wall = time.perf_counter() - self._began
        self.cpu = self._cpu() - self._cpu_before


class LagMeter:
    """How late the loop is: wakes every 5 ms and notes the delay in milliseconds."""

    PERIOD = 0.005

    def __init__(self) -> None:
        self.delays: list[float] = []

    async def run(self) -> None:
        """Note delays until cancelled."""
        while True:
            due = time.perf_counter() + self.PERIOD
            await asyncio.sleep(self.PERIOD)
            self.delays.append((time.perf_counter() - due) * 1000)

    def percentile(self, percent: int) -> float:
        """Give the delay in milliseconds that `percent` of the wake-ups stayed below."""
        if len(self.delays) < 2:
            return 0.0
        return statistics.quantiles(self.delays, n=100, method="inclusive")[percent - 1]


class Spinner:
    """A thread that does nothing but hold the GIL as often as it gets it."""

    def __init__(self, core: int | None) -> None:
        self.core = core
        self.stop = False
        self.thread = threading.Thread(target=self._spin, daemon=True)
        self.clock: int | None = None

    def _spin(self) -> None:
        pin(self.core)
        while not self.stop:
            for _ in range(1000):
                pass

    @contextlib.contextmanager
    def spinning(self) -> Iterator[Spinner]:
        """Spin inside the ``with`` block."""
        self.thread.start()
        self.clock = time.pthread_getcpuclockid(self.thread.ident or 0)
        try:
            yield self
        finally:
            self.clock = None
            self.stop = True
            self.thread.join()

    def cpu(self) -> float:
        """Give the CPU time of the thread so far; 0.0 while it does not spin."""
        return 0.0 if self.clock is None else time.clock_gettime(self.clock)
