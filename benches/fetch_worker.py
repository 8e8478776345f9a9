"""One measured process of the fetch benchmark.

usage: fetch_worker.py CLIENT URL PROTOCOL AUTHORITY|- IN_FLIGHT SECONDS CORE|- SPIN_CORE|-

PROTOCOL is HTTP/1.1 or HTTP/2, and has to be what the server and the client then agree on;
AUTHORITY is a PEM file of the certificate authority to trust. IN_FLIGHT coroutines fetch the URL
without a pause. When every connection is open and warm, a window of SECONDS is measured while
they go on, so that neither the start nor the end of the load is in it. Prints one JSON object:
requests/s, CPU µs per request, loop lag, peak RSS, open connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import clients
import measure

if TYPE_CHECKING:
    from typing import Self

WARM_UP = 0.3
"""Least seconds of load before the window; arbitrary."""
LONGEST = 60.0
"""Most seconds a window may have; arbitrary, it catches a count given in their place."""


class Load:
    """Coroutines that fetch one URL for as long as the ``with`` block lasts."""

    def __init__(self, fetcher: clients.Fetcher, url: str, in_flight: int, size: int) -> None:
        self.get, self.url, self.in_flight, self.size = fetcher.get, url, in_flight, size
        self.requests = 0
        self.workers: list[asyncio.Task[None]] = []

    async def _work(self) -> None:
        while True:
            received = await self.get(self.url)
            if received != self.size:
                message = f"received {received} bytes, not {self.size}"
                raise RuntimeError(message)
            self.requests += 1

    async def __aenter__(self) -> Self:
        self.workers = [asyncio.create_task(self._work()) for _ in range(self.in_flight)]
        return self

    async def __aexit__(self, *exception: object) -> None:
        for worker in self.workers:
            worker.cancel()
        await asyncio.wait(self.workers)

    async def go_on(self, seconds: float, requests: int = 0) -> None:
        """Let it run for that long and until so many requests are done; raises their errors."""
        until = time.perf_counter() + seconds
        await asyncio.sleep(seconds)
        while time.perf_counter() < until or self.requests < requests:
            await asyncio.sleep(0.01)
            self.check()
        self.check()

    def check(self) -> None:
        """Raise the error that ended a worker, if one did."""
        for worker in self.workers:
            if worker.done():
                worker.result()


async def measured(load: Load, seconds: float, spin_core: int | None) -> dict[str, float]:
    """Measure a window of a load that runs already, with a spinning thread if it has a core."""
    spinner, meter = measure.Spinner(spin_core), measure.LagMeter()
    with spinner.spinning() if spin_core is not None else contextlib.nullcontext():
        lag = asyncio.create_task(meter.run())
        before = load.requests
        with measure.Stopwatch(spinner) as watch:
            await load.go_on(seconds)
            requests = load.requests - before
        lag.cancel()
    return {
        "rate": requests / watch.wall,
        "cpu_us": watch.cpu / max(requests, 1) * 1e6,
        "lag_p50_ms": meter.percentile(50),
        "lag_p99_ms": meter.percentile(99),
        "rss_mib": measure.peak_rss_mib(),
        "connections": measure.connections(urlsplit(load.url).port or 0),
        "seconds": watch.wall,
    }


async def main(
    name: str,
    wanted: clients.Wanted,
    in_flight: int,
    seconds: float,
    spin_core: int | None,
) -> None:
    """Warm one client up, measure it and print its figures."""
    url, protocol = wanted.url, "HTTP/2" if wanted.http2 else "HTTP/1.1"
    async with clients.open_client(name, wanted) as fetcher:
        spoken = await fetcher.version(url)
        if spoken != protocol:
            message = f"{name} spoke {spoken}, not {protocol}"
            raise RuntimeError(message)
        size = await fetcher.get(url)
        async with Load(fetcher, url, in_flight, size) as load:
            await load.go_on(WARM_UP, requests=in_flight)
            figures = await measured(load, seconds, spin_core)
            # Before the load and the client end: a crash then takes no figures with it.
            print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    name, url, protocol, authority, in_flight, seconds, core, spin = sys.argv[1:]
    if float(seconds) > LONGEST:
        sys.exit(f"{seconds} seconds are more than {LONGEST:.0f}: the argument is no count")
    measure.pin(None if core == "-" else int(core))
    wanted = clients.Wanted(
        url, None if authority == "-" else Path(authority), http2=protocol == "HTTP/2"
    )
    spin_core = None if spin == "-" else int(spin)
    asyncio.run(main(name, wanted, int(in_flight), float(seconds), spin_core))
