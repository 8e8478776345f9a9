"""One measured process of the section `stale`: a number of GETs, and what became of them.

usage: stale_worker.py CLIENT URL IN_FLIGHT REQUESTS CORE|-

IN_FLIGHT coroutines share the requests; an error takes its request and nothing else. Prints one
JSON object: requests/s, CPU µs per request, the number of requests and of those that failed, and
as `error.NAME` how many failed with each exception.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter

import clients
import measure

HANGING = 10.0
"""Seconds after which a GET that should take milliseconds counts as failed; arbitrary."""


async def fetch_all(
    fetcher: clients.Fetcher, url: str, in_flight: int, requests: int
) -> Counter[str]:
    """Make the requests; gives the failures by the name of their exception."""
    failures: Counter[str] = Counter()
    size = await fetcher.get(url)  # its connection is new: nothing to race with
    left = iter(range(requests))

    async def work() -> None:
        for _ in left:
            try:
                async with asyncio.timeout(HANGING) as limit:
                    received = await fetcher.get(url)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
                failures["hung" if limit.expired() else type(error).__name__] += 1
            else:
                if received != size:
                    failures["wrong body"] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(work())
    return failures


async def main(name: str, url: str, in_flight: int, requests: int) -> None:
    """Make the requests with one client and print what became of them."""
    async with clients.open_client(name, clients.Wanted(url)) as fetcher:
        with measure.Stopwatch() as watch:
            failures = await fetch_all(fetcher, url, in_flight, requests)
        figures = {
            "rate": requests / watch.wall,
            "cpu_us": watch.cpu / requests * 1e6,
            "requests": requests,
            "failed": failures.total(),
            **{f"error.{error}": number for error, number in failures.items()},
        }
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    name, url, in_flight, requests, core = sys.argv[1:]
    measure.pin(None if core == "-" else int(core))
    asyncio.run(main(name, url, int(in_flight), int(requests)))
