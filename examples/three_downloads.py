"""Three downloads take as long as the slowest of them, not as long as all together.

usage: python three_downloads.py (the server is its own, and takes 0.3 s for each)
"""

import asyncio
import time

import offloop
from offloop.testing import MockRouter

URLS = [f"https://files.example/{name}" for name in ("one", "two", "three")]


async def one_after_another(client: offloop.Client) -> int:
    """Fetch as a loop of ``requests.get`` would: each waits for the one before."""
    size = 0
    for url in URLS:
        response = await client.get(url)
        size += len(response.content)
    return size


async def together(client: offloop.Client) -> int:
    """Fetch all of them at once; gather takes Jobs as it takes coroutines, without a Task each."""
    responses = await asyncio.gather(*(client.get(url) for url in URLS))
    return sum(len(response.content) for response in responses)


async def main() -> None:
    """Time both."""
    async with MockRouter() as router, router.client() as client:
        router.get("https://files.example/*").respond(content=b"x" * 10_000).latency(0.3)
        for fetch in (one_after_another, together):
            began = time.perf_counter()
            size = await fetch(client)
            print(f"{fetch.__name__:18} {size:,} bytes in {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    asyncio.run(main())
