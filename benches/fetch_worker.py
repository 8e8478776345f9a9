"""One measured process of the fetch benchmark.

usage: fetch_worker.py CLIENT URL IN_FLIGHT REQUESTS CORE SPIN_CORE|-

Prints one JSON object: requests/s, CPU µs per request, loop lag, peak RSS.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import measure

Get = Callable[[str], Awaitable[int]]


@contextlib.asynccontextmanager
async def offloop_client(in_flight: int) -> AsyncIterator[Get]:
    import offloop

    async with offloop.Client() as client:

        async def get(url: str) -> int:
            response = await client.get(url)
            return len(response.content)

        yield get


@contextlib.asynccontextmanager
async def ry_client(in_flight: int) -> AsyncIterator[Get]:
    import ry

    client = ry.Client()

    async def get(url: str) -> int:
        response = await client.get(url)
        return len(await response.bytes())

    yield get


@contextlib.asynccontextmanager
async def wreq_client(in_flight: int) -> AsyncIterator[Get]:
    import wreq

    client = wreq.Client()

    async def get(url: str) -> int:
        response = await client.get(url)
        return len(await response.bytes())

    yield get


@contextlib.asynccontextmanager
async def pyreqwest_client(in_flight: int) -> AsyncIterator[Get]:
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
    async with httpx.AsyncClient(limits=limits) as client:

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


async def load(get: Get, url: str, in_flight: int, requests: int) -> int:
    """`requests` fetches by `in_flight` coroutines; gives the bytes received."""
    left, received = requests, 0

    async def worker() -> None:
        nonlocal left, received
        while left > 0:
            left -= 1
            size = await get(url)
            received += size

    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return received


async def main(name: str, url: str, in_flight: int, requests: int, spin_core: int | None) -> None:
    async with CLIENTS[name](in_flight) as get:
        size = await get(url)
        await load(get, url, in_flight, in_flight * 4)
        spinner = measure.Spinner(spin_core)
        with spinner.spinning() if spin_core is not None else contextlib.nullcontext():
            meter = measure.LagMeter()
            lag = asyncio.ensure_future(meter.run())
            await asyncio.sleep(0)
            cpu, began = time.process_time(), time.perf_counter()
            received = await load(get, url, in_flight, requests)
            wall, cpu = time.perf_counter() - began, time.process_time() - cpu
            lag.cancel()
        assert received == size * requests
    print(
        json.dumps(
            {
                "rate": requests / wall,
                "cpu_us": (cpu - spinner.cpu) / requests * 1e6,
                "lag_p50_ms": meter.percentile(50),
                "lag_p99_ms": meter.percentile(99),
                "rss_mib": measure.peak_rss_mib(),
            }
        )
    )


if __name__ == "__main__":
    name, url, in_flight, requests, core, spin = sys.argv[1:]
    measure.pin(int(core))
    asyncio.run(main(name, url, int(in_flight), int(requests), None if spin == "-" else int(spin)))
