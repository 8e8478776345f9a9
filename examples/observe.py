"""Numbers for Prometheus, and the log of what was left running.

usage: python observe.py
"""

import asyncio
import logging

import offloop
from offloop.testing import MockRouter


async def main() -> None:
    """Do a little of everything, and show the metrics of it."""
    logging.basicConfig(format="%(name)s %(levelname)s %(message)s")  # offloop logs as offloop.*
    async with MockRouter() as router, router.client() as client:
        router.get("*").respond(text="hello")
        await asyncio.gather(*(client.get(f"https://a.example/{n}") for n in range(10)))
        async with offloop.Pool("reports", limit=2) as reports:
            await asyncio.gather(*(reports.run(sum, [n]) for n in range(5)))
            text = offloop.stats().prometheus()  # what a handler of /metrics returns
    wanted = ("offloop_fetch_requests_total", 'offloop_pool_done_total{pool="reports"}')
    print("\n".join(line for line in text.splitlines() if line.startswith(wanted)))


if __name__ == "__main__":
    asyncio.run(main())
