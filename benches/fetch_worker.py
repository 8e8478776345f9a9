"""One measured process of the fetch benchmark.

usage: fetch_worker.py CLIENT URL IN_FLIGHT SECONDS CORE|- SPIN_CORE|-

IN_FLIGHT coroutines fetch the URL without a pause. When every connection is open and warm, a
window of SECONDS is measured while they go on, so that neither the start nor the end of the load
is in it. Prints one JSON object: requests/s, CPU µs per request, loop lag, peak RSS.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import measure

if TYPE_CHECKING:
    from typing import Self

WARM_UP = 0.3
"""Least seconds of load before the window; arbitrary."""
LONGEST = 60.0
"""Most seconds a window may have; arbitrary, it catches a count given in their place."""

Get = Callable[[str], Awaitable[int]]


@contextlib.asynccontextmanager
async def offloop_client(_in_flight: int) -> AsyncIterator[Get]:
    import offloop

    async with offloop.Client() as client:

        async def get(url: str) -> int:
            response = await client.get(url)
            return len(response.content)

        yield get


@contextlib.asynccontextmanager
async def ry_client(_in_flight: int) -> AsyncIterator[Get]:
    import ry

    client = ry.Client()

    async def get(url: str) -> int:
        response = await client.get(url)
        return len(await response.bytes())

    yield get


@contextlib.asynccontextmanager
async def wreq_client(_in_flight: int) -> AsyncIterator[Get]:
    import wreq

    client = wreq.Client()

    async def get(url: str) -> int:
        response = await client.get(url)
        return len(await response.bytes())

    yield get


@contextlib.asynccontextmanager
async def pyreqwest_client(_in_flight: int) -> AsyncIterator[Get]:
    from pyreqwest.client import ClientBuilder

    async with ClientBuilder().build() as client:

        async def get(url: str) -> int:
            response = await client.get(url).build().send()
            return len(await response.bytes())

        yield get


@contextlib.asynccontextmanager
async def aiohttp_client(in_flight: int) -> AsyncIterator[Get]:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=in_flight)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def get(url: str) -> int:
            async with session.get(url) as response:
                return len(await response.read())

        yield get


@contextlib.asynccontextmanager
async def httpx_client(in_flight: int) -> AsyncIterator[Get]:
    import httpx

    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    # The default of 5 s would also count the wait for a slow loop; the others allow minutes.
    async with httpx.AsyncClient(limits=limits, timeout=60) as client:

        async def get(url: str) -> int:
            response = await client.get(url)
            return len(response.content)

        yield get


CLIENTS = {
    "offloop": offloop_client,
    "ry": ry_client,
    "wreq": wreq_client,
    "pyreqwest": pyreqwest_client,
    "aiohttp": aiohttp_client,
    "httpx": httpx_client,
}


class Load:
    """Coroutines that fetch one URL for as long as the ``with`` block lasts."""

    def __init__(self, get: Get, url: str, in_flight: int, size: int) -> None:
        self.get, self.url, self.in_flight, self.size = get, url, in_flight, size
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
        "seconds": watch.wall,
    }


async def main(name: str, url: str, in_flight: int, seconds: float, spin_core: int | None) -> None:
    """Warm one client up, measure it and print its figures."""
    async with CLIENTS[name](in_flight) as get:
        size = await get(url)
        async with Load(get, url, in_flight, size) as load:
            await load.go_on(WARM_UP, requests=in_flight)
            figures = await measured(load, seconds, spin_core)
            # Before the load and the client end: a crash then takes no figures with it.
            print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    name, url, in_flight, seconds, core, spin = sys.argv[1:]
    if float(seconds) > LONGEST:
        sys.exit(f"{seconds} seconds are more than {LONGEST:.0f}: the argument is no count")
    measure.pin(None if core == "-" else int(core))
    spin_core = None if spin == "-" else int(spin)
    asyncio.run(main(name, url, int(in_flight), float(seconds), spin_core))
