"""Fetch any number of URLs, however many there are, and keep none of them in memory.

usage: python fetch_all.py [FILE] (with a URL in each line; without one: 2,000 made-up ones)
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import offloop
from offloop.testing import MockRouter


def made_up() -> Iterator[str]:
    """Give URLs one by one: they are pulled as they are needed, so there could be ten million."""
    for number in range(2_000):
        yield f"https://host-{number % 4}.example/item?{number}"


def read(name: str) -> Iterator[str]:
    """Give the lines of a file."""
    with Path(name).open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield line.strip()


async def fetch(client: offloop.Client, urls: Iterator[str]) -> None:
    """Count what comes back, in lists of a hundred."""
    hosts, errors = Counter[str](), 0
    async with client, client.fetch_all(urls, limit=64, per_host="auto") as results:
        async for some in results.batches(100):
            errors += sum(got.error is not None for got in some)
            hosts.update(got.url.split("/")[2] for got in some)
    print(f"{hosts.total():,} answers from {len(hosts)} hosts, {errors} errors")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(fetch(offloop.Client(retries=3), read(sys.argv[1])))
    else:
        with MockRouter() as router:
            router.get("*").respond(content=b"an answer")
            asyncio.run(fetch(router.client(), made_up()))
