"""Many URLs in a process of its own, for the section `batch`.

usage: batch_worker.py fetch_all|gather URL NUMBER IN_FLIGHT CORE|-

Prints one JSON object: URLs/s, CPU µs per URL, loop lag, peak RSS.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator

import measure
import offloop


async def by_fetch_all(client: offloop.Client, url: str, number: int, in_flight: int) -> None:
    """Have `fetch_all` pull the URLs out of a generator."""
    urls = (url for _ in range(number))
    async for got in client.fetch_all(urls, limit=in_flight, per_host=in_flight):
        check(got.response)


async def by_gather(client: offloop.Client, url: str, number: int, in_flight: int) -> None:
    """Have `in_flight` requests under way, in groups that follow one another without a pause."""
    urls: Iterator[str] = (url for _ in range(number))

    async def one_after_the_other() -> None:
        for each in urls:
            check(await client.get(each))

    await asyncio.gather(*(one_after_the_other() for _ in range(in_flight)))


def check(response: offloop.Response | None) -> None:
    """Read the body, as whoever asked for it would."""
    if response is None or len(response.content) != 1024:
        raise SystemExit("a response is not what it should be")


async def main(way: str, url: str, number: int, in_flight: int) -> None:
    """Warm up, measure, print."""
    work = {"fetch_all": by_fetch_all, "gather": by_gather}[way]
    limits = offloop.Limits(connections=in_flight, per_host=in_flight)
    async with offloop.Client(limits=limits) as client:
        await work(client, url, 4 * in_flight, in_flight)
        lag = measure.LagMeter()
        meter = asyncio.create_task(lag.run())
        watch = measure.Stopwatch()
        with watch:
            await work(client, url, number, in_flight)
        meter.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await meter
    print(
        json.dumps(
            {
                "rate": number / watch.wall,
                "cpu_us": watch.cpu / number * 1e6,
                "lag_p50_ms": lag.percentile(50),
                "lag_p99_ms": lag.percentile(99),
                "rss_mib": measure.peak_rss_mib(),
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    way, url, number, in_flight, core = sys.argv[1:]
    measure.pin(None if core == "-" else int(core))
    asyncio.run(main(way, url, int(number), int(in_flight)))
