"""Fetch thousands of URLs with a cap, out of a generator that may be endless.

usage: python many_urls.py [NUMBER] (default 2,000; the server is its own)
"""

import asyncio
import collections
import sys
from collections.abc import Iterator

from offloop.testing import MockRequest, MockRouter, Reply


def answer(request: MockRequest) -> Reply:
    """Answer as a server that lacks every hundredth page."""
    missing = int(request.path_params["n"]) % 100 == 0
    return Reply(404 if missing else 200, json={"page": request.path_params["n"]})


def urls(number: int) -> Iterator[str]:
    """Make them one by one: they are pulled when there is room for them."""
    for n in range(1, number + 1):
        yield f"https://pages.example/{n}"


async def main(number: int) -> None:
    """Count what came, without ever holding more than 50 responses."""
    outcomes: collections.Counter[str] = collections.Counter()
    async with MockRouter() as router, router.client() as client:
        router.get("https://pages.example/{n}").handle(answer)
        async for got in client.fetch_all(urls(number), limit=50, per_host=50):
            if got.response is not None:
                outcomes[str(got.response.status_code)] += 1
            else:
                outcomes[type(got.error).__name__] += 1
    print(", ".join(f"{count:,} x {outcome}" for outcome, count in sorted(outcomes.items())))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000))
